package claim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"
)

func openRoot(t *testing.T) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	for _, dir := range []string{"tmp", "final"} {
		if err := root.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestOneWins(t *testing.T) {
	for name, move := range map[string]func(root *os.Root, from, to string) error{"Link": Link, "Rename": Rename} {
		t.Run(name, func(t *testing.T) {
			root := openRoot(t)
			for round := range 50 {
				to := fmt.Sprintf("final/%d", round)
				var errs [8]error
				var wg sync.WaitGroup
				for i := range errs {
					from := fmt.Sprintf("tmp/%d-%d", round, i)
					if err := root.WriteFile(from, []byte(from), 0o666); err != nil {
						t.Fatal(err)
					}
					wg.Go(func() { errs[i] = move(root, from, to) })
				}
				wg.Wait()
				winner := -1
				for i, err := range errs {
					if err == nil && winner < 0 {
						winner = i
					} else if !errors.Is(err, fs.ErrExist) {
						t.Fatalf("a loser: %v, want ErrExist", err)
					}
				}
				got, err := root.ReadFile(to)
				if want := fmt.Sprintf("tmp/%d-%d", round, winner); err != nil || string(got) != want {
					t.Fatalf("%s is %q, %v, want %q", to, got, err, want)
				}
			}
		})
	}
}

// TestLinkWhoseAnswerWasLost: the second try of a link that was made finds the
// name taken by our own file.
func TestLinkWhoseAnswerWasLost(t *testing.T) {
	root := openRoot(t)
	if err := root.WriteFile("tmp/a", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Link(root, "tmp/a", "final/a"); err != nil {
			t.Error(err)
		}
	}
}

func TestErrors(t *testing.T) {
	root := openRoot(t)
	if err := root.WriteFile("tmp/a", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, move := range map[string]func(root *os.Root, from, to string) error{"Link": Link, "Rename": Rename} {
		if err := move(root, "tmp/absent", "final/b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what is not there: %v", name, err)
		}
		if err := move(root, "tmp/a", "absent/b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s to a directory that is not there: %v", name, err)
		}
		if err := move(root, "tmp/a", "../b"); err == nil {
			t.Errorf("%s to the outside: no error", name)
		}
	}
	for err, want := range map[error]bool{
		&os.LinkError{Err: syscall.EPERM}: true, &os.LinkError{Err: syscall.ENOTSUP}: true,
		&os.LinkError{Err: syscall.EEXIST}: false, &os.LinkError{Err: syscall.ENOSPC}: false,
	} {
		if noLinks(err) != want {
			t.Errorf("%v: taken for a file system without links: %v", err, !want)
		}
	}
}
