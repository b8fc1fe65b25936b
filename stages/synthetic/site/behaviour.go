package site

// A Behaviour is what happens when a picture is asked for.
type Behaviour string

// What happens to pictures. Those that recover do so within one Start.
const (
	Sent      Behaviour = ""          // at once
	Slow      Behaviour = "slow"      // sent, but the first bytes come late
	Moved     Behaviour = "moved"     // a redirect leads to it
	Failing   Behaviour = "failing"   // 500 to the first request, then sent
	Busy      Behaviour = "busy"      // 503 with Retry-After to the first request, then sent
	CutShort  Behaviour = "cut_short" // the connection ends amid the first answer, then sent
	Missing   Behaviour = "missing"   // 404
	Gone      Behaviour = "gone"      // a redirect leads to an address where nothing is left (410)
	HTML      Behaviour = "html"      // a page comes in its place
	Truncated Behaviour = "truncated" // the file itself ends in the middle
)

// Arrives says whether a client that follows redirects and asks again gets the
// picture.
func (b Behaviour) Arrives() bool {
	switch b {
	case Missing, Gone, HTML, Truncated:
		return false
	}
	return true
}

func (b Behaviour) known() bool {
	switch b {
	case Sent, Slow, Moved, Failing, Busy, CutShort, Missing, Gone, HTML, Truncated:
		return true
	}
	return false
}
