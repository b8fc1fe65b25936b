package server

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// shares say how many of the places for requests each client has. No client gets
// more than it leaves free, so that one alone has half of them at most, slow as it
// may be, and each that comes later still half of what is left: this is the
// dynamic threshold of Choudhury and Hahne (IEEE/ACM Transactions on Networking
// 6(2), 1998), for the sharing of a switch's memory.
type shares struct {
	mu   sync.Mutex // also of whoever takes a place
	held map[string]int
}

// enter gives a request a place, until leave.
func (s *Server) enter(client string) error {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	free := cap(s.serving) - len(s.serving)
	if free == 0 {
		return refuse(http.StatusServiceUnavailable, "%d requests are being served, which is all that this server takes at once", s.opts.MaxClients)
	}
	if held := s.shares.held[client]; held >= free {
		return refuse(http.StatusServiceUnavailable, "%d requests of this client are being served, and the %d places that are free are for others", held, free)
	}
	s.serving <- struct{}{}
	s.shares.held[client]++
	return nil
}

func (s *Server) leave(client string) {
	s.shares.mu.Lock()
	defer s.shares.mu.Unlock()
	<-s.serving
	if s.shares.held[client]--; s.shares.held[client] == 0 {
		delete(s.shares.held, client)
	}
}

// client is whom a request's place is counted for: a token at an address, as
// teams share tokens, and proxies have everybody come from one address. Of an
// IPv6 address it is the network, within which a machine has what addresses it
// likes.
func (x *exchange) client() string {
	address := x.host()
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() && !ip.Is4In6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			address = network.String()
		}
	}
	return address + " " + x.who
}

// host is the address that a request came from.
func (x *exchange) host() string {
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		return x.r.RemoteAddr
	}
	return host
}
