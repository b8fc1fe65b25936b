package remote

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Options are the choices of a Store. The zero value is right for use.
type Options struct {
	// Parallel is how many requests go on at once. 0 means DefaultParallel.
	Parallel int

	// PartBytes is the size of the parts in which large blobs are read side by
	// side. 0 means DefaultPartBytes.
	PartBytes int64

	// Bandwidth is how many bytes a second all transfers together may move,
	// both ways. 0 is no limit.
	Bandwidth int64

	// Timeout is how long the remote may be silent: before an answer, or in the
	// middle of a body; and how long it may ask to be left alone before a request is
	// made again. 0 means DefaultTimeout. After bytes that a driver took and
	// may still be sending, the silence may be longer by the time in which a line
	// of 256 KiB a second moves them, at most two minutes.
	Timeout time.Duration

	// MinRate is how many bytes a second each request has to move, on an average
	// over a minute (or twice the Timeout, if that is longer): a remote that is
	// slower is taken for a silent one. 0 means DefaultMinRate; 1 allows almost
	// anything. As with the Timeout, only time in which it is the remote's turn
	// counts, so that a Bandwidth may be less.
	MinRate int64

	// Attempts is how often a request that failed in a way that may pass is made
	// in all. 0 means DefaultAttempts.
	Attempts int

	// Breaker is after how many requests in a row that failed so the remote is
	// not asked for a while (Cooldown), and then with a single request first.
	// 0 means DefaultBreaker.
	Breaker  int
	Cooldown time.Duration // 0 means DefaultCooldown

	// TempDir is where what is to be sent waits when it is too large for memory:
	// what is compressed first, and what Put is given. Empty means os.TempDir.
	TempDir string

	// Now is the breaker's clock, and Sleep waits between attempts, for tests; nil
	// means those of package time, by which silence is always measured.
	Now   func() time.Time
	Sleep func(time.Duration) <-chan time.Time
}

// Defaults of Options.
const (
	DefaultParallel  = 8
	DefaultPartBytes = 16 << 20
	DefaultTimeout   = 30 * time.Second
	DefaultMinRate   = 256
	DefaultAttempts  = 3
	DefaultBreaker   = 3
	DefaultCooldown  = time.Minute
)

// withDefaults are the options with what zero means.
func (o Options) withDefaults() Options {
	o.Parallel = cmp.Or(o.Parallel, DefaultParallel)
	o.PartBytes = cmp.Or(o.PartBytes, DefaultPartBytes)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.MinRate = cmp.Or(o.MinRate, DefaultMinRate)
	o.Attempts = cmp.Or(o.Attempts, DefaultAttempts)
	o.Breaker = cmp.Or(o.Breaker, DefaultBreaker)
	o.Cooldown = cmp.Or(o.Cooldown, DefaultCooldown)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = time.After
	}
	return o
}

// minRateWindow is over how much time MinRate is the mean at least.
const minRateWindow = time.Minute

// rateWindow is over how much time MinRate is the mean: enough for a remote that
// is silent for just less than the Timeout, and then moves what a minute asks for.
func (o Options) rateWindow() time.Duration { return max(minRateWindow, 2*o.Timeout) }

// Validate says all that is wrong with the options.
func (o Options) Validate() error {
	var wrong []error
	for _, number := range []struct {
		name  string
		value int64
	}{
		{"Parallel", int64(o.Parallel)}, {"PartBytes", o.PartBytes}, {"Bandwidth", o.Bandwidth}, {"Timeout", int64(o.Timeout)}, {"MinRate", o.MinRate},
		{"Attempts", int64(o.Attempts)}, {"Breaker", int64(o.Breaker)}, {"Cooldown", int64(o.Cooldown)},
	} {
		if number.value < 0 {
			wrong = append(wrong, fmt.Errorf("option %s is %d, must not be negative", number.name, number.value))
		}
	}
	return errors.Join(wrong...)
}
