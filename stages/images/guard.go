package images

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// A guard keeps requests away from machines that only this one can reach: a URL
// that came with somebody's metadata must not make prismflow ask a router, a
// neighbour or a cloud's metadata service. It judges the address that is about
// to be dialled, so that neither a redirect nor a name that resolves to another
// address than a moment ago gets past it.
type guard struct {
	private bool             // admit every address
	except  []netip.AddrPort // admitted whatever they are
}

// A refusedAddress is the error of dialling what the guard does not admit.
type refusedAddress struct {
	addr netip.Addr
	what string
}

func (r *refusedAddress) Error() string {
	return fmt.Sprintf("its address %s is %s, and allow_private is not set", r.addr, r.what)
}

// control is called by the dialer for each address before it connects.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dialling %q: %w", address, err)
	}
	if slices.Contains(g.except, target) {
		return nil
	}
	return g.check(target.Addr())
}

// check refuses an address that is not one of the public internet.
func (g guard) check(addr netip.Addr) error {
	if what := special(addr); what != "" && !g.private {
		return &refusedAddress{addr, what}
	}
	return nil
}

// checkURL refuses what is seen to be private without asking a name server:
// all there is to go by where a proxy resolves the names.
func (g guard) checkURL(u *url.URL) error {
	if target, err := netip.ParseAddrPort(u.Host); err == nil && slices.Contains(g.except, target) {
		return nil
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.check(addr)
	}
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if !g.private && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
		return g.check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return nil
}

// A block is a range of addresses with a purpose of its own.
type block struct {
	prefix netip.Prefix
	what   string
}

// ipv4Blocks are those of the IANA IPv4 Special-Purpose Address Registry that
// are not globally reachable, with multicast.
var ipv4Blocks = []block{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a provider's private one"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "reserved for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "reserved"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "reserved for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "reserved for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "reserved for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
}

// ipv6Blocks are the exceptions within the addresses that are given out, and
// the better known ones outside of them, for a message that says what it is.
var ipv6Blocks = []block{
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("2001::/23"), "reserved"}, // Teredo among them, which hides an IPv4 address
	{netip.MustParsePrefix("2001:db8::/32"), "reserved for documentation"},
	{netip.MustParsePrefix("2002::/16"), "reserved for 6to4"}, // hides an IPv4 address
	{netip.MustParsePrefix("3fff::/20"), "reserved for documentation"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

var (
	ipv6GivenOut = netip.MustParsePrefix("2000::/3")     // all that IANA has given out so far
	nat64        = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last four bytes are an IPv4 address
)

// special says what kind of address that is not public it is; "" for a public one.
func special(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
		bytes := addr.As16()
		addr = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	blocks := ipv6Blocks
	if addr.Is4() {
		blocks = ipv4Blocks
	}
	for _, b := range blocks {
		if b.prefix.Contains(addr) {
			return b.what
		}
	}
	if addr.Is6() && !ipv6GivenOut.Contains(addr) || !addr.IsValid() {
		return "reserved"
	}
	return ""
}
