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
