package memo

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/internal/peertest"
)

func TestMain(m *testing.M) {
	peertest.Main(m, func(task, dir string, args []string) error {
		number, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		return helpers[task](dir, number)
	})
}

// helpers are what the other processes of tests do.
var helpers = map[string]func(dir string, number int) error{
	"member": addAsMember,
	"forever": func(dir string, first int) error { // until it is killed; says what is kept
		s, err := disk.Open(dir, disk.Options{})
		if err != nil {
			return err
		}
		m, err := Open(ctx, s, scope, Options{SegmentBytes: 100_000})
		if err != nil {
			return err
		}
		for i := first; ; i++ {
			if err := m.Put(keyOf(i), valueFor(i)); err != nil {
				return err
			}
			fmt.Println(i)
		}
	},
	"together": func(dir string, number int) error { // with others; a few rows at a time
		s, err := disk.Open(dir, disk.Options{})
		if err != nil {
			return err
		}
		for i := 100 * number; i < 100*number+100; {
			m, err := Open(ctx, s, scope, Options{})
			if err != nil {
				return err
			}
			for end := i + 20; i < end; i++ {
				if err := m.Put(keyOf(i), valueFor(i)); err != nil {
					return err
				}
			}
			if err := m.Close(ctx); err != nil {
				return err
			}
		}
		return s.Close()
	},
}

// valueFor is a value of some hundred bytes that depends on i.
func valueFor(i int) []byte { return []byte(strings.Repeat(fmt.Sprint("row ", i, " "), 20+i%30)) }

// A process that is killed at any moment loses no row of which Put had returned.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	next := 0
	for range 6 {
		p := peertest.Start(t, "forever", dir, strconv.Itoa(next))
		deadline := time.Now().Add(time.Duration(rand.IntN(60)) * time.Millisecond)
		last := p.Line()
		for time.Now().Before(deadline) {
			last = p.Line()
		}
		if rest := strings.Fields(p.Kill()); len(rest) > 0 {
			last = rest[len(rest)-1]
		}
		kept, err := strconv.Atoi(last)
		if err != nil {
			t.Fatalf("the process said %q", last)
		}
		next = kept + 1
		s := openStore(t, dir)
		m := openMemo(t, s, Options{})
		for i := range next {
			if value, known, _ := m.Get(keyOf(i)); !known || string(value) != string(valueFor(i)) {
				t.Fatalf("row %d of %d is not what it was (known %v)", i, next, known)
			}
		}
		if rows := m.Stats().Rows; rows > next+1 {
			t.Errorf("%d rows, of %d that were put", rows, next)
		}
		if rand.IntN(2) == 0 {
			closeMemo(t, m)
		} else {
			m.release() // as another kill would
		}
		s.Close()
	}
}

func TestProcessesTogether(t *testing.T) {
	dir := t.TempDir()
	var all []*peertest.Process
	for number := range 4 {
		all = append(all, peertest.Start(t, "together", dir, strconv.Itoa(number)))
	}
	for _, p := range all {
		p.End()
	}
	want := map[Key]string{}
	for i := range 400 {
		want[keyOf(i)] = string(valueFor(i))
	}
	expect(t, openMemo(t, openStore(t, dir), Options{}), want, 500)
}
