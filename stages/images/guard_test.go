package images

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages/stagetest"
)

func TestSpecialAddresses(t *testing.T) {
	tests := map[string]string{
		"8.8.8.8":                  "",
		"93.184.216.34":            "",
		"172.15.255.255":           "",
		"172.32.0.0":               "",
		"2606:2800:220:1::1":       "",
		"2a00:1450:4001::1":        "",
		"64:ff9b::8.8.8.8":         "",
		"::ffff:8.8.8.8":           "",
		"127.0.0.1":                "loopback",
		"127.255.1.2":              "loopback",
		"::1":                      "loopback",
		"::ffff:127.0.0.1":         "loopback",
		"64:ff9b::127.0.0.1":       "loopback",
		"64:ff9b::169.254.169.254": "link-local",
		"10.1.2.3":                 "private",
		"172.16.0.1":               "private",
		"172.31.255.255":           "private",
		"192.168.1.1":              "private",
		"::ffff:192.168.1.1":       "private",
		"fd00::1":                  "private",
		"fec0::1":                  "private",
		"169.254.169.254":          "link-local",
		"fe80::1":                  "link-local",
		"fe80::1%eth0":             "link-local",
		"100.64.0.1":               "a provider's private one",
		"0.0.0.0":                  "unspecified",
		"0.1.2.3":                  "unspecified",
		"::":                       "unspecified",
		"224.0.0.1":                "multicast",
		"ff02::1":                  "multicast",
		"255.255.255.255":          "reserved",
		"240.0.0.1":                "reserved",
		"192.0.0.170":              "reserved",
		"198.18.0.1":               "reserved for benchmarks",
		"203.0.113.7":              "reserved for documentation",
		"2001:db8::1":              "reserved for documentation",
		"2001::1":                  "reserved",          // Teredo
		"2002:7f00:1::":            "reserved for 6to4", // of 127.0.0.1
		"64:ff9b:1::127.0.0.1":     "reserved",
		"::127.0.0.1":              "reserved",
		"0:0:0:0:ffff:0:127.0.0.1": "reserved", // SIIT
		"100::1":                   "reserved",
		"5f00::1":                  "reserved",
		"4000::1":                  "reserved",
	}
	for text, want := range tests {
		if got := special(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
	if special(netip.Addr{}) == "" {
		t.Error("no address is taken for a public one")
	}
}

// What Go's own notions call special is never admitted, in any of the ways in
// which IPv6 writes an IPv4 address.
func TestGuardAgreesWithNetip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "IPv4") {
			addr = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
		} else {
			first := rapid.SampledFrom([]byte{0, 0x20, 0x26, 0xfc, 0xfd, 0xfe, 0xff}).Draw(t, "first byte")
			addr = netip.AddrFrom16([16]byte(append([]byte{first}, rapid.SliceOfN(rapid.Byte(), 15, 15).Draw(t, "bytes")...)))
		}
		goSaysSpecial := addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified()
		if goSaysSpecial && special(addr) == "" {
			t.Fatalf("%s is admitted", addr)
		}
		if !addr.Is4() {
			return
		}
		four := addr.As4()
		for _, prefix := range []string{"::ffff:", "64:ff9b::"} {
			mapped := netip.MustParseAddr(fmt.Sprintf("%s%d.%d.%d.%d", prefix, four[0], four[1], four[2], four[3]))
			if got, want := special(mapped), special(addr); got != want {
				t.Fatalf("%s is %q, and %s is %q", mapped, got, addr, want)
			}
		}
	})
}

func TestHostsThatAreSeenToBePrivate(t *testing.T) {
	for host, refused := range map[string]bool{
		"localhost": true, "LOCALHOST.": true, "a.localhost": true, "127.0.0.1": true, "[::1]": true, "10.0.0.1:80": true, "127.0.0.1:81": true,
		"example.org": false, "localhost.example.org": false, "8.8.8.8": false, "127.0.0.1:80": false,
	} {
		u := &url.URL{Scheme: "http", Host: host}
		if got := (guard{except: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80")}}).checkURL(u) != nil; got != refused {
			t.Errorf("%s is refused: %v, want %v", host, got, refused)
		}
		if err := (guard{private: true}).checkURL(u); err != nil {
			t.Errorf("%s with allow_private: %v", host, err)
		}
	}
}

// An address that is refused as it stands waits for no turn: many of them are
// refused at once, whatever the rate. A picture that is known stays.
func TestRefusedAddressesWaitForNoTurn(t *testing.T) {
	s := newSite(t)
	s.serves("/known.png", aPNG(1))
	items := []itemURL{{"known", s.URL + "/known.png"}}
	env := stagetest.Env(t)
	d := newDownload()
	d.AllowPrivate = true
	download(t, d, env, items...)
	for i := range 1000 {
		items = append(items, itemURL{fmt.Sprint(i), fmt.Sprintf("%s/%d.png", s.URL, i)})
	}
	d = newDownload()
	d.Rate.Value = 0.001
	const oneTurn = 1000 * time.Second
	began := time.Now()
	rows := download(t, d, env, items...)
	if took := time.Since(began); took >= oneTurn || s.total() != 1 {
		t.Errorf("%v and %d requests", took, s.total())
	}
	if want := "its address 127.0.0.1 is loopback, and allow_private is not set"; rows[0].Error != "" || rows[1000].Error != want {
		t.Errorf("the known picture %q, the last %q, want %q", rows[0].Error, rows[1000].Error, want)
	}
}

// A name that resolved to a public address, and to one inside a moment later.
func TestRebinding(t *testing.T) {
	outside := newSite(t)
	outside.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // the next request dials again
		_, _ = w.Write(aPNG(1))
	})
	port := outside.address().Port()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port))
	if err != nil {
		t.Skipf("this machine has one loopback address: %v", err)
	}
	var reached atomic.Int32
	inside := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })}}
	inside.Start()
	defer inside.Close()

	d := newDownload()
	d.Concurrency.Value = 1
	d.world.guard.except = []netip.AddrPort{outside.address()}
	d.world.resolver = nameServer(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2})
	url := fmt.Sprintf("http://pictures.example:%d/", port)
	rows := download(t, d, stagetest.Env(t), itemURL{"first", url + "a"}, itemURL{"then", url + "b"})
	if rows[0].Error != "" || !strings.HasPrefix(rows[1].Error, "its address 127.0.0.2 is loopback") || reached.Load() != 0 {
		t.Errorf("first %q, then %q, and the inner server was reached %d times", rows[0].Error, rows[1].Error, reached.Load())
	}
}

// nameServer is a resolver for which every name has the first address when it is
// asked for the first time, then the second, and so on; without addresses there
// is no name.
func nameServer(t *testing.T, addresses ...[4]byte) *net.Resolver {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { server.Close(); <-ended })
	go func() {
		defer close(ended)
		buf := make([]byte, 512)
		for asked := 0; ; {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if err := query.Unpack(buf[:n]); err != nil {
				continue
			}
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true}, Questions: query.Questions}
			if len(addresses) == 0 {
				reply.RCode = dnsmessage.RCodeNameError
			} else if query.Questions[0].Type == dnsmessage.TypeA {
				reply.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: query.Questions[0].Name, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: addresses[min(asked, len(addresses)-1)]},
				}}
				asked++
			}
			if packed, err := reply.Pack(); err == nil {
				_, _ = server.WriteTo(packed, from)
			}
		}
	}()
	dial := net.Dialer{}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial.DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}
