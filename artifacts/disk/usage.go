package disk

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Usage counts what a store holds.
type Usage struct {
	Blobs      Part `json:"blobs"`
	Actions    Part `json:"actions"`
	Temp       Part `json:"temp"`
	Quarantine Part `json:"quarantine"`
	State      Part `json:"state"`
}

// A Part is a number of files and the sum of their sizes.
type Part struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Usage counts the files of a store and their sizes in bytes, by a walk.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	var u Usage
	for dir, part := range map[string]*Part{"cas": &u.Blobs, "ac": &u.Actions, "tmp": &u.Temp, "quarantine": &u.Quarantine, "state": &u.State} {
		if err := part.add(ctx, s.path(dir)); err != nil {
			return Usage{}, fmt.Errorf("measuring %s: %w", s.path(dir), err)
		}
	}
	return u, nil
}

// add counts what is below a directory. What vanishes meanwhile is not there.
func (p *Part) add(ctx context.Context, root string) error {
	return filepath.WalkDir(root, func(_ string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !e.Type().IsRegular() {
			return ctx.Err()
		}
		if info, err := e.Info(); err == nil {
			p.Files++
			p.Bytes += info.Size()
		}
		return nil
	})
}
