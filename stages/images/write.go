package images

import (
	"context"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/stages/tables"
)

// write streams the table in the items' order, one picture in memory at a time
// beside the batch that is being filled.
func (r *run) write(ctx context.Context) error {
	out, err := r.Images.Create()
	if err != nil {
		return err
	}
	if err := r.writeRows(ctx, out.Append); err != nil {
		out.Abort()
		return err
	}
	return out.Close()
}

func (r *run) writeRows(ctx context.Context, add func(tables.Image) error) error {
	done := 0
	for item, err := range r.Items.Rows() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		row, err := r.row(item)
		if err != nil {
			return err
		}
		if err := add(row); err != nil {
			return err
		}
		done++
		r.env.Progress(int64(done), int64(r.plan.items), "rows")
	}
	return nil
}

// row is an item's row.
func (r *run) row(item itemURL) (tables.Image, error) {
	if file, ok := r.files[item.Item]; ok {
		return r.fileRow(item, file.Path, file.Name)
	}
	if item.ImageURL == "" {
		return tables.Image{Item: item.Item, Error: "no picture is known"}, nil
	}
	t := r.plan.targets[item.ImageURL]
	switch {
	case t.failure != nil:
		return failedRow(item, t.failure), nil
	case t.need == readFile:
		return r.fileRow(item, t.at.Path, t.url)
	}
	return r.shelfRow(item)
}

// fileRow is the row of an item whose picture is a file.
func (r *run) fileRow(item itemURL, path, name string) (tables.Image, error) {
	known, data, f := r.readPicture(path)
	if err := r.tally.file(f, item.Item+" in "+name); err != nil {
		return tables.Image{}, err
	}
	if f != nil {
		return failedRow(item, f), nil
	}
	known.FinalURL = name
	return pictureRow(item, known, data), nil
}

// shelfRow is the row of an item whose picture is remembered.
func (r *run) shelfRow(item itemURL) (tables.Image, error) {
	known, ok, err := r.shelf.record(item.ImageURL)
	if err != nil || !ok {
		return r.lostRow(item, err)
	}
	data, ok, err := r.shelf.bytes(known)
	if err != nil || !ok {
		return r.lostRow(item, err)
	}
	return pictureRow(item, known, data), nil
}

// lostRow is the row of an item whose picture was there when the run began. It
// is asked for again by the next one.
func (r *run) lostRow(item itemURL, err error) (tables.Image, error) {
	if err != nil {
		return tables.Image{}, fmt.Errorf("reading the picture of item %s: %w", item.Item, err)
	}
	f := passing(lost, "the picture was kept and is lost")
	if err := r.shelf.keep(item.ImageURL, recordFailure(f, ""), nil); err != nil {
		return tables.Image{}, err
	}
	return failedRow(item, f), r.tally.lose(f, item.ImageURL)
}

func pictureRow(item itemURL, known record, data []byte) tables.Image {
	return tables.Image{
		Item: item.Item, URL: item.ImageURL, FinalURL: text(known.FinalURL), Status: known.Status,
		MediaType: known.MediaType, Width: known.Width, Height: known.Height,
		SHA256: known.SHA256, Bytes: data,
	}
}

func failedRow(item itemURL, f *failure) tables.Image {
	return tables.Image{Item: item.Item, URL: item.ImageURL, Status: int32(f.status), Error: text(f.text)}
}

// text is what others sent as a table can hold it.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
