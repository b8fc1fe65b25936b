package lines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
)

// readChunks returns the lines as read does. What ended the reading is an error
// at its place.
func readChunks(options Options, files ...stages.File) ([]string, error) {
	chunks := OpenChunks(context.Background(), files, options)
	defer chunks.Close()
	var got []string
	line, row := int64(0), 0
	for chunk := range chunks.All() {
		if chunk.First() {
			line = 0
		}
		for i, text := range chunk.Lines() {
			if row++; int64(row) == 0 || i < 0 {
				return nil, errors.New("lines are not counted")
			}
			line++
			got = append(got, fmt.Sprintf("%s:%d %s", chunk.Place(line), row, text))
		}
		if err := chunk.Err(); err != nil {
			return got, fmt.Errorf("%s: %w", chunk.Place(line+1), err)
		}
		chunk.Release()
	}
	return got, chunks.Err()
}

// awkward are texts that blocks end in in all the ways in which they can.
func awkward() map[string]string {
	many := strings.Repeat("a line of some length\r\n", 3*blockBytes/23)
	return map[string]string{
		"empty":                       "",
		"blank lines":                 "\n\n\r\n",
		"several blocks":              many,
		"no end of the last line":     many + "end",
		"a block less a byte":         strings.Repeat("x", blockBytes-2) + "\n" + many,
		"a block":                     strings.Repeat("x", blockBytes-1) + "\n" + many,
		"a block and a byte":          strings.Repeat("x", blockBytes) + "\n" + many,
		"a line of most of a block":   "y\n" + strings.Repeat("x", blockBytes-10) + "\n" + many,
		"a line of several blocks":    "y\n" + strings.Repeat("x", 3*blockBytes+7) + "\n" + many,
		"long lines only, and no end": strings.Repeat(strings.Repeat("x", 2*blockBytes-1)+"\n", 3) + "end",
	}
}

func TestBlocksEndWhereLinesDo(t *testing.T) {
	for name, text := range awkward() {
		var want []string
		for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if text == "" {
				break
			}
			want = append(want, fmt.Sprintf("f:%d:%d %s", i+1, i+1, strings.TrimSuffix(line, "\r")))
		}
		f := file(t, "f", []byte(text))
		for reader, read := range map[string]func(Options, ...stages.File) ([]string, error){"Reader": read, "Chunks": readChunks} {
			got, err := read(Options{}, f)
			if err != nil {
				t.Fatal(err)
			}
			if !cmp.Equal(want, got) {
				t.Errorf("%s of %s: %d lines, want %d", reader, name, len(got), len(want))
			}
		}
	}
}

// Files are read side by side, and come in their order.
func TestManyFiles(t *testing.T) {
	var files []stages.File
	var want []string
	row := 0
	for i := range 3 * filesAtOnce {
		name := fmt.Sprintf("f%d", i)
		var text strings.Builder
		for line := range i * 50 {
			row++
			fmt.Fprintf(&text, "%d of %s, %s\n", line, name, strings.Repeat("x", i*100))
			want = append(want, fmt.Sprintf("%s:%d:%d %d of %s, %s", name, line+1, row, line, name, strings.Repeat("x", i*100)))
		}
		data := []byte(text.String())
		if i%2 == 0 {
			data = zipped(text.String())
		}
		files = append(files, file(t, name, data))
	}
	for reader, read := range map[string]func(Options, ...stages.File) ([]string, error){"Reader": read, "Chunks": readChunks} {
		got, err := read(Options{}, files...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", reader, diff)
		}
	}
}

// An error comes where its file does, after the lines before it, though later
// files were begun.
func TestErrorsOfChunksStandBehindTheirLines(t *testing.T) {
	good := file(t, "good", []byte("one\ntwo\n"))
	whole := zipped(strings.Repeat("line\n", 100))
	for name, c := range map[string]struct {
		file    stages.File
		options Options
		want    error
		prefix  string
	}{
		"cut off":  {file(t, "bad", whole[:len(whole)-9]), Options{}, ErrDamaged, "bad:"},
		"too long": {file(t, "bad", []byte("short\n"+strings.Repeat("x", 10)+"\nshort\n")), Options{MaxBytes: 9}, ErrTooLong, "bad:2: "},
		"too long for a block": {
			file(t, "bad", []byte("short\n"+strings.Repeat("x", 3*blockBytes))), Options{MaxBytes: 2 * blockBytes}, ErrTooLong, "bad:2: ",
		},
	} {
		got, err := readChunks(c.options, good, c.file, good)
		if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), c.prefix) || len(got) < 2 {
			t.Errorf("%s: %d lines and error %v", name, len(got), err)
		}
	}
}

func TestChunksAreCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := file(t, "f", []byte(strings.Repeat("x\n", 10*blockBytes)))
	chunks := OpenChunks(ctx, []stages.File{f, f, f}, Options{})
	defer chunks.Close()
	for range chunks.All() {
		cancel()
	}
	if !errors.Is(chunks.Err(), context.Canceled) {
		t.Errorf("error %v", chunks.Err())
	}
}
