package web

import (
	"errors"
	"testing"
	"time"
)

func TestRetryAfterIsTold(t *testing.T) {
	address, opts := plain(t, answer(503, "Retry-After", "7"))
	err := whole(t.Context(), open(t, address, opts))
	var after interface{ RetryAfter() time.Duration }
	if !errors.As(err, &after) || after.RetryAfter() != 7*time.Second {
		t.Errorf("%v, want one that says 7s", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "3": 3 * time.Second, "-3": 0, "1.5": 0, "soon": 0,
		"99999999999999999999": 0, "999999999": maxRetryAfter,
		"Thu, 26 Nov 2026 12:00:05 GMT": 5 * time.Second, "Thu, 26 Nov 2026 11:00:00 GMT": 0, "Thu, 26 Nov 2099 12:00:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
