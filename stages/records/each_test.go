package records

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
	"github.com/prismflow/prismflow/stages/stagetest"
)

func textFile(t *testing.T, name, text string) stages.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return stages.File{Name: name, Path: path}
}

// ids takes "place row id" of each record by Each.
func ids(t *testing.T, options Options, files ...stages.File) ([]string, Tally, error) {
	t.Helper()
	options.What = "things"
	var got []string
	tally, err := Each(context.Background(), stagetest.Env(t), files, options,
		func(r Record) (string, error) { return r.Name("id") },
		func(at *Line, id string) error {
			if strings.HasPrefix(id, "refused") {
				return FieldErrorf("id", "is %q", id)
			}
			got = append(got, fmt.Sprintf("%s %d %s", at.Place(), at.Row, id))
			return nil
		})
	return got, tally, err
}

// sequential does the same by a Reader.
func sequential(t *testing.T, options Options, files ...stages.File) (got []string, tally Tally, err error) {
	t.Helper()
	options.What = "things"
	r := Open(context.Background(), stagetest.Env(t), files, options)
	defer r.Close()
	id := ""
	for r.Next(func(rec Record) (err error) {
		if id, err = rec.Name("id"); err == nil && strings.HasPrefix(id, "refused") {
			err = FieldErrorf("id", "is %q", id)
		}
		return err
	}) {
		got = append(got, fmt.Sprintf("%s %d %s", r.Place(), r.Row(), id))
	}
	return got, Tally{r.Rows(), r.Bad()}, r.Err()
}

// manyLines fill several chunks, with blank and bad lines among them.
func manyLines(n int) string {
	var text strings.Builder
	for i := range n {
		switch {
		case i%1000 == 7:
			text.WriteString(" \n")
		case i%5000 == 4999:
			text.WriteString("{\"id\": \"cut off\n")
		case i%7000 == 6999:
			fmt.Fprintf(&text, "{\"id\": \"refused%d\"}\n", i)
		case i%9000 == 8999:
			fmt.Fprintf(&text, "{\"text\": %q, \"id\": \"i%d\"}\n", strings.Repeat("x", longLine), i)
		default:
			fmt.Fprintf(&text, "{\"id\": \"i%d\", \"text\": %q}\n", i, strings.Repeat("x", i%300))
		}
	}
	return text.String()
}

// On one core or on many, Each gives what a Reader gives: values, places, counts
// and errors.
func TestEachIsAsAReader(t *testing.T) {
	files := []stages.File{textFile(t, "a", manyLines(30_000)), textFile(t, "b", ""), textFile(t, "c", manyLines(20_000)+`{"id": "last"}`)}
	for _, most := range []int64{0, 1, 7, 100} {
		options := Options{MaxBad: most}
		want, wantTally, wantErr := sequential(t, options, files...)
		for _, cores := range []int{1, 2, 8} {
			before := runtime.GOMAXPROCS(cores)
			got, tally, err := ids(t, options, files...)
			runtime.GOMAXPROCS(before)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%d bad rows, %d cores: error %v\nwant %v", most, cores, err, wantErr)
			}
			if !cmp.Equal(want, got) || tally != wantTally {
				t.Errorf("%d bad rows, %d cores: %d values and %+v, want %d and %+v", most, cores, len(got), tally, len(want), wantTally)
			}
		}
	}
}

func TestEachOfNothing(t *testing.T) {
	for text, want := range map[string]string{
		"":        "the source holds no things: is it the right file?",
		"\n \n":   "the source holds no things: is it the right file?",
		"x\n{}\n": "the source holds no things but 2 bad rows",
	} {
		if _, _, err := ids(t, Options{MaxBad: 5}, textFile(t, "f", text)); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

// A line that is too long stands where it does, behind good ones in its chunk.
func TestEachOfALongLine(t *testing.T) {
	good := strings.Repeat("{\"id\": \"x\"}\n", 1000)
	got, _, err := ids(t, Options{}, textFile(t, "f", good+strings.Repeat("x", lines.DefaultMaxBytes+1)+"\n"+good))
	if !errors.Is(err, lines.ErrTooLong) || !strings.HasPrefix(err.Error(), "f:1001: ") || len(got) != 1000 {
		t.Errorf("%d values and error %v", len(got), err)
	}
}

func TestEachStops(t *testing.T) {
	disk := errors.New("the disk is full")
	f := textFile(t, "f", manyLines(30_000))
	n := 0
	_, err := Each(context.Background(), stagetest.Env(t), []stages.File{f, f}, Options{MaxBad: 100},
		func(Record) (int, error) { return 0, nil },
		func(*Line, int) error {
			n++
			return Stop(disk)
		})
	if err != disk || n != 1 {
		t.Errorf("error %v after %d values", err, n)
	}
}

func TestEachIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // by which it goes how far ahead lines are decoded
	f := textFile(t, "f", manyLines(30_000))
	var decoded atomic.Int64
	_, err := Each(ctx, stagetest.Env(t), []stages.File{f, f, f, f, f, f, f, f, f, f}, Options{MaxBad: 100},
		func(Record) (int, error) {
			decoded.Add(1)
			return 0, nil
		},
		func(*Line, int) error {
			cancel()
			return nil
		})
	if !errors.Is(err, context.Canceled) || decoded.Load() > 250_000 {
		t.Errorf("error %v after %d records", err, decoded.Load())
	}
}

// What Name gives outlives its record, and Record reads it once more.
func TestNamesLast(t *testing.T) {
	f := textFile(t, "f", manyLines(4_000))
	var names []string
	_, err := Each(context.Background(), stagetest.Env(t), []stages.File{f}, Options{MaxBad: 100},
		func(r Record) (string, error) { return r.Name("id") },
		func(at *Line, name string) error {
			rec, err := at.Record()
			if err != nil {
				return err
			}
			again, err := rec.ID("id")
			if string(again) != name {
				t.Errorf("%s: %q and %q", at.Place(), name, again)
			}
			names = append(names, fmt.Sprintf("%d %s", at.Row-1, name))
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if row, id, _ := strings.Cut(name, " "); id != "i"+row && !strings.HasPrefix(id, "refused") {
			t.Fatalf("row %s has the name %q", row, id)
		}
	}
}
