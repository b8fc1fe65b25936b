package remote_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memory"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// brokenTarget reads what it is given and fails by itself.
type brokenTarget struct{ err error }

func (b brokenTarget) Put(ctx context.Context, d artifacts.Digest, size int64, r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return b.err
}

// Whose fault it is that a copy failed, and that nothing wrong arrives.
func TestCopyTo(t *testing.T) {
	full := errors.New("no space")
	for name, test := range map[string]struct {
		target remote.Target
		damage func([]byte) []byte
		fault  remotetest.Fault
		want   error
		ours   bool // the target's fault
	}{
		"right":           {},
		"a wrong byte":    {damage: func(b []byte) []byte { b[0] ^= 1; return b }, want: artifacts.ErrCorrupt},
		"cut short":       {damage: func(b []byte) []byte { return b[:len(b)-1] }, want: artifacts.ErrCorrupt},
		"absent":          {damage: func([]byte) []byte { return nil }, want: artifacts.ErrNotFound},
		"broken off":      {target: brokenTarget{full}, fault: remotetest.Fault{Break: errReset, Tenth: 5}, want: errReset},
		"a full target":   {target: brokenTarget{full}, want: full, ours: true},
		"taken up in mid": {fault: remotetest.Fault{End: true, Tenth: 5}},
	} {
		m := remotetest.NewMemory(remotetest.AllTraits)
		upload(t, newStore(t, m, remote.Options{}), few)
		d := artifacts.DigestOf(few)
		if test.damage != nil {
			m.Set("cas/"+d.Hex(), test.damage(m.Object("cas/"+d.Hex())))
		}
		attempts := 1
		if test.want == nil {
			attempts = 3
		}
		s := newStore(t, remotetest.NewFaulty(m, remotetest.Once(remotetest.Read, 1, test.fault)), remote.Options{Attempts: attempts})
		here := memory.New()
		target := test.target
		if target == nil {
			target = here
		}
		err := s.CopyTo(ctx, d, int64(len(few)), target, nil)
		var ours *remote.TargetError
		if !errors.Is(err, test.want) || errors.As(err, &ours) != test.ours {
			t.Errorf("%s: %v, want %v; the target's fault: %v", name, err, test.want, test.ours)
		}
		if _, err := here.Stat(ctx, d); (err == nil) != (test.want == nil) {
			t.Errorf("%s: the target has it: %v", name, err)
		}
	}
}
