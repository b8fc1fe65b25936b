package remote

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// MaxRetryAfter is the longest time for which a remote is left alone because it
// asked for that.
const MaxRetryAfter = 10 * time.Minute

// ParseRetryAfter reads when a server wants to be asked again from the header of
// an answer (Retry-After: RFC 9110, 10.2.3), which states seconds or a date. A date
// is compared to the server's own clock where the answer has that (Date). What is
// absent, malformed or past is 0, and nothing is more than MaxRetryAfter.
func ParseRetryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(MaxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// retryAfter is when the remote wants to be asked again after it answered with err,
// which may pass; 0 if it does not say. Drivers say so by a method RetryAfter.
func retryAfter(err error) time.Duration {
	var asked interface{ RetryAfter() time.Duration }
	if !mayPass(err) || !errors.As(err, &asked) {
		return 0
	}
	return min(max(asked.RetryAfter(), 0), MaxRetryAfter)
}
