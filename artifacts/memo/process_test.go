package memo

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// helperVar tells the test binary that it was started as one of the processes
// of a test: what it does, the store's directory, and its number.
const helperVar = "MEMO_TEST_HELPER"

func TestMain(m *testing.M) {
	words := strings.Fields(os.Getenv(helperVar))
	if len(words) == 0 {
		os.Exit(m.Run())
	}
	number, err := strconv.Atoi(words[2])
	if err == nil {
		err = helpers[words[0]](words[1], number)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

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

func start(t *testing.T, what, dir string, number int) (*exec.Cmd, io.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", helperVar, what, dir, number))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// A process that is killed at any moment loses no row of which Put had returned.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	next := 0
	for range 6 {
		cmd, out := start(t, "forever", dir, next)
		lines := bufio.NewScanner(out)
		deadline := time.Now().Add(time.Duration(rand.IntN(60)) * time.Millisecond)
		for lines.Scan() && time.Now().Before(deadline) {
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		last := lines.Text()
		for lines.Scan() {
			last = lines.Text()
		}
		_ = cmd.Wait() // it was killed
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
	var all sync.WaitGroup
	for number := range 4 {
		cmd, out := start(t, "together", dir, number)
		all.Go(func() {
			said, _ := io.ReadAll(out)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
	all.Wait()
	want := map[Key]string{}
	for i := range 400 {
		want[keyOf(i)] = string(valueFor(i))
	}
	expect(t, openMemo(t, openStore(t, dir), Options{}), want, 500)
}
