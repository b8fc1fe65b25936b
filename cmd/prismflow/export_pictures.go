package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	inorder "github.com/sourcegraph/conc/stream"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
)

// pngFormat is the one that is written into a directory.
const pngFormat = "png"

// exportedPicture is what is read of a picture.
type exportedPicture struct {
	Item  string `arrow:"item"`
	Bytes []byte `arrow:"bytes"`
}

// runExportPictures writes each picture of a table as a PNG file into dir.
func runExportPictures(ctx context.Context, file, ref, dir string, o exportOptions, s *streams) (err error) {
	found, err := openOutput(ctx, file, ref, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer found.closing(&err)
	if err := checkHasPictures(found.ref, found.IsTable(), found.path); err != nil {
		return err
	}
	dir = s.path(dir)
	if err := prepareDirectory(dir, o.force); err != nil {
		return err
	}
	decoder, err := picture.Open(picture.Auto)
	if err != nil {
		return err
	}
	e := &pictureExport{dir: dir, decoder: decoder, names: pictureNames{}, total: found.Rows, streams: s, told: s.now()}
	err = e.run(ctx, found.path)
	e.summary()
	return err
}

func checkHasPictures(ref stages.Ref, isTable bool, path string) error {
	err := errors.New("it is a plain file")
	if isTable {
		f, openErr := table.Open(path)
		if openErr != nil {
			return openErr
		}
		defer f.Close()
		err = table.CheckColumns(f.Schema(), table.SchemaOf[exportedPicture]())
	}
	if err != nil {
		return usageError{fmt.Errorf("%s has no pictures to write as PNG, which are in tables with the columns item and bytes, such as those of images.download: %w", ref, err)}
	}
	return nil
}

// prepareDirectory makes the directory, or sees to it that nothing in it is lost.
func prepareDirectory(dir string, force bool) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); err == nil && !force {
		return usageError{fmt.Errorf("%s is not empty: name another directory, or write into it by --force, which replaces pictures of the same name and leaves the rest", dir)}
	} else if err != nil && err != io.EOF {
		return fmt.Errorf("exporting: %w", err)
	}
	return nil
}

// A pictureExport is one in progress. Its counts change by one goroutine at a
// time, in the order of the rows.
type pictureExport struct {
	dir     string
	decoder *picture.Decoder
	names   pictureNames
	total   int64
	streams *streams

	rows, written, absent, broken int64
	told                          time.Time // when progress was last told of
	err                           error     // the first that ends it
}

func (e *pictureExport) run(ctx context.Context, path string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers := inorder.New().WithMaxGoroutines(runtime.GOMAXPROCS(0))
	err := e.eachRow(ctx, path, func(row exportedPicture, name string) {
		workers.Go(func() inorder.Callback {
			undecoded, failed := e.export(ctx, row.Bytes, name)
			return func() {
				e.done(row.Item, undecoded, failed)
				if failed != nil {
					stop() // a full disk is as full for the next one
				}
			}
		})
	})
	workers.Wait()
	if e.err != nil {
		return e.err
	}
	return err
}

// export writes one picture. It tells a picture that cannot be decoded from what
// ends the export.
func (e *pictureExport) export(ctx context.Context, data []byte, name string) (undecoded, failed error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	undecoded = e.decoder.Use(data, picture.Limits{}, func(decoded picture.RGB) error {
		failed = writePNG(filepath.Join(e.dir, name), decoded)
		return nil
	})
	return undecoded, failed
}

// eachRow hands out the rows that have a picture with the names of their files.
func (e *pictureExport) eachRow(ctx context.Context, path string, do func(exportedPicture, string)) error {
	for row, err := range table.Rows[exportedPicture](path) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("exporting pictures: %w", context.Cause(ctx))
		}
		e.rows++
		if len(row.Bytes) == 0 {
			e.absent++
			continue
		}
		name, err := e.names.of(row.Item)
		if err != nil {
			return err
		}
		do(row, name)
	}
	return nil
}

// mostTold bounds the lines about pictures that cannot be decoded.
const mostTold = 10

// done counts one picture; failed is why it could not be written.
func (e *pictureExport) done(item string, undecoded, failed error) {
	switch {
	case undecoded != nil:
		if e.broken++; e.broken <= mostTold {
			e.streams.err.printf("item %q: %v\n", item, undecoded)
		}
	case failed != nil:
		if e.err == nil {
			e.err = fmt.Errorf("exporting pictures: %w", failed)
		}
	default:
		e.written++
	}
	if now := e.streams.now(); now.Sub(e.told) >= progressEvery {
		e.told = now
		e.streams.err.printf("%s of %s read, %s written\n", thousands(e.rows), count(int(e.total), "row"), count(int(e.written), "picture"))
	}
}

func (e *pictureExport) summary() {
	e.streams.err.printf("%s written to %s", count(int(e.written), "picture"), e.dir)
	if e.absent > 0 {
		e.streams.err.printf("; %s without one", count(int(e.absent), "row"))
	}
	if e.broken > 0 {
		e.streams.err.printf("; %s not decoded", thousands(e.broken))
	}
	e.streams.err.printf("\n")
}

func writePNG(path string, p picture.RGB) error {
	opaque := image.NewNRGBA(image.Rect(0, 0, p.Width, p.Height))
	for i := range p.Width * p.Height {
		copy(opaque.Pix[4*i:], p.Pix[3*i:3*i+3])
		opaque.Pix[4*i+3] = 0xff
	}
	return exportFile(path, func(w io.Writer) error { return png.Encode(w, opaque) })
}

// pictureNames are the files that were named so far, in lower case: some file
// systems do not tell cases apart.
type pictureNames map[string]bool

// longestName bounds a name before its suffix, in bytes. Most file systems allow
// 255, some programs less.
const longestName = 150

// of is the name of an item's file. It has no characters but letters, digits and
// a few others, so that it is no path and means nothing to a shell. What does
// not fit is told apart by a digest of the id.
func (n pictureNames) of(item string) (string, error) {
	name := escapedName(item)
	if name == "" || len(name) > longestName || n[strings.ToLower(name)] {
		sum := sha256.Sum256([]byte(item))
		name = name[:min(len(name), longestName)] + "~" + hex.EncodeToString(sum[:8])
	}
	if n[strings.ToLower(name)] {
		return "", fmt.Errorf("item %q has two pictures", item)
	}
	n[strings.ToLower(name)] = true
	return name + ".png", nil
}

// escapedName writes %XX for each byte that could mean something in a name.
func escapedName(item string) string {
	var b strings.Builder
	reserved := isReserved(item)
	for i, c := range []byte(item) {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-.", c) >= 0
		if !plain || i == 0 && (c == '.' || c == '-' || reserved) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// isReserved says whether Windows takes a name, with whatever suffix, for a device.
func isReserved(item string) bool {
	stem, _, _ := strings.Cut(strings.ToLower(item), ".")
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "com") || strings.HasPrefix(stem, "lpt")) && stem[3] >= '0' && stem[3] <= '9'
}
