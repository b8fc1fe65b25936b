package images

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
)

// A backoff says how long to wait before a URL is asked again: twice as long
// each time, and by chance up to half more or less, so that what failed
// together does not come back together.
type backoff struct {
	first, longest time.Duration
	random         func() float64 // in [0, 1)
}

// wait is the time after the given number of attempts, which is at least 1.
func (b backoff) wait(attempts int) time.Duration {
	wait := min(b.first, b.longest)
	for doubled := 1; doubled < attempts && wait < b.longest; doubled++ {
		wait = min(2*wait, b.longest)
	}
	return min(b.longest, time.Duration(float64(wait)*(0.5+b.random())))
}

// retryAfter reads a Retry-After header: seconds, or a date. It is 0 for none,
// one that cannot be read, and one that has passed.
func retryAfter(header string, now time.Time) time.Duration {
	switch seconds, err := strconv.ParseUint(header, 10, 32); {
	case err == nil:
		return time.Duration(seconds) * time.Second
	case errors.Is(err, strconv.ErrRange):
		return math.MaxInt64
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}
