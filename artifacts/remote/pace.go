package remote

import (
	"context"

	"golang.org/x/time/rate"
)

// A pace keeps all transfers together to a bandwidth. A nil *pace knows no limit.
type pace struct{ limiter *rate.Limiter }

// newPace is a pace of so many bytes a second; of 0 it is none.
func newPace(bandwidth int64) *pace {
	if bandwidth == 0 {
		return nil
	}
	burst := min(max(bandwidth/10, 16<<10), 1<<20) // what is moved before anybody waits
	return &pace{rate.NewLimiter(rate.Limit(bandwidth), int(burst))}
}

// moved waits until n more bytes may have been moved.
func (p *pace) moved(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	for n > 0 {
		step := min(n, p.limiter.Burst())
		if err := p.limiter.WaitN(ctx, step); err != nil {
			return err
		}
		n -= step
	}
	return nil
}
