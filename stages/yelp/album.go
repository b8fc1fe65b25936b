package yelp

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
	"github.com/prismflow/prismflow/stages/picture"
)

// An album chooses the best pictures of each business among files, whose bytes
// and names anybody may have made.
type album struct {
	env      *stages.Env
	index    *photoIndex
	most     int   // pictures of one business
	maxBytes int64 // of one picture
	scratch  *os.File
	end      int64 // of scratch
	left     leftOut
}

// leftOut counts files that no picture comes of.
type leftOut struct {
	refused    int64 // entries of an archive that are no plain files, or whose names lead out of it
	other      int64 // files that are no pictures by their names
	unlisted   int64 // pictures that photos.json does not name
	duplicates int64 // second pictures of one photo
	tooLarge   int64
	broken     int64
}

// A chosen picture is one of the best of its business.
type chosen struct {
	photo *photo
	name  string // of the file, without its folders
	info  picture.Info
	place place
}

// A place is where a picture's bytes are: a file, or a part of the scratch file
// where path is empty.
type place struct {
	path           string
	offset, length int64
}

// newAlbum makes an album, which must be closed.
func newAlbum(env *stages.Env, index *photoIndex, most int, maxBytes int64) (*album, error) {
	scratch, err := os.Create(filepath.Join(env.Scratch, "pictures.spill"))
	if err != nil {
		return nil, fmt.Errorf("creating a scratch file: %w", err)
	}
	return &album{env: env, index: index, most: most, maxBytes: maxBytes, scratch: scratch}, nil
}

// close lets go of the scratch file, which is left to whoever owns its directory.
func (a *album) close() { _ = a.scratch.Close() }

// gather looks at all files: pictures, archives of them, and others.
func (a *album) gather(ctx context.Context, files []stages.File) error {
	var loose []stages.File
	for _, f := range files {
		switch {
		case isPicture(f.Name):
			loose = append(loose, f)
		case isArchive(f.Name) || len(files) == 1:
			if err := a.archive(ctx, f); err != nil {
				return err
			}
		default:
			a.left.other++
		}
	}
	if err := a.folder(ctx, loose); err != nil {
		return err
	}
	return a.report()
}

func isPicture(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg", ".png", ".gif", ".webp":
		return true
	}
	return false
}

func isArchive(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".tar", ".tgz", ".gz":
		return true
	}
	return false
}

// photoOf is the photo whose picture a file of this name is, nil when it is not
// wanted. Of several files for one photo the first is taken.
func (a *album) photoOf(name string) *photo {
	base := path.Base(name)
	p := a.index.photos[strings.TrimSuffix(base, path.Ext(base))]
	switch {
	case p == nil:
		a.left.unlisted++
		return nil
	case p.seen:
		a.left.duplicates++
		return nil
	}
	p.seen = true
	if p.business == nil {
		return nil
	}
	p.business.found++
	return p
}

// folder chooses among files that lie on their own, the best first, so that no
// more of them are read than are needed.
func (a *album) folder(ctx context.Context, files []stages.File) error {
	type candidate struct {
		photo *photo
		file  stages.File
	}
	var candidates []candidate
	for _, f := range files {
		if p := a.photoOf(f.Name); p != nil {
			candidates = append(candidates, candidate{p, f})
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return better(a.photo, b.photo) })
	for i, c := range candidates {
		if err := ctx.Err(); err != nil {
			return err
		}
		a.env.Progress(int64(i), int64(len(candidates)), "photos")
		if !a.needs(c.photo) {
			continue
		}
		at := place{path: c.file.Path}
		data, err := a.read(at)
		if err != nil {
			return fmt.Errorf("reading a picture: %w", err)
		}
		if info, ok := a.inspect(c.photo, data); ok {
			a.choose(chosen{c.photo, path.Base(c.file.Name), info, at})
		}
	}
	return nil
}

// archive chooses among the files of a tar archive, which is read once.
func (a *album) archive(ctx context.Context, f stages.File) error {
	progress := func(done, total int64) { a.env.Progress(done, total, "bytes") }
	texts := lines.OpenTexts(ctx, []stages.File{f}, lines.Options{OnProgress: progress})
	defer texts.Close()
	if !texts.NextFile() {
		return texts.Err()
	}
	for entries := tar.NewReader(texts); ; {
		header, err := entries.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, texts) // damage behind the end counts as well
			return inArchive(f, err)
		}
		if err == nil {
			err = a.entry(header, entries)
		}
		if err != nil {
			return inArchive(f, err)
		}
	}
}

// entry looks at one entry of an archive. An error is one of reading.
func (a *album) entry(header *tar.Header, data io.Reader) error {
	switch {
	case header.Typeflag == tar.TypeDir:
		return nil
	case header.Typeflag != tar.TypeReg || !filepath.IsLocal(header.Name):
		a.left.refused++
		return nil
	case !isPicture(header.Name):
		a.left.other++
		return nil
	}
	p := a.photoOf(header.Name)
	if p == nil || !a.needs(p) {
		return nil
	}
	content, err := io.ReadAll(io.LimitReader(data, a.maxBytes+1))
	if err != nil {
		return err
	}
	info, ok := a.inspect(p, content)
	if !ok {
		return nil
	}
	if _, err := a.scratch.WriteAt(content, a.end); err != nil {
		return fmt.Errorf("writing a scratch file: %w", err)
	}
	a.choose(chosen{p, path.Base(header.Name), info, place{offset: a.end, length: int64(len(content))}})
	a.end += int64(len(content))
	return nil
}

// inArchive says of an error that it came up in an archive, and what a person
// can do about it.
func inArchive(f stages.File, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: %w: no complete tar archive (%w); copy or download it again", f.Name, lines.ErrDamaged, err)
	}
	return fmt.Errorf("%s: %w", f.Name, err)
}

// needs says whether p would be one of the best, as far as they are known.
func (a *album) needs(p *photo) bool {
	best := p.business.best
	return len(best) < a.most || better(p, best[len(best)-1].photo) < 0
}

// choose makes a picture one of the best, in place of one that was.
func (a *album) choose(c chosen) {
	b := c.photo.business
	at, _ := slices.BinarySearchFunc(b.best, c.photo, func(other chosen, p *photo) int { return better(other.photo, p) })
	b.best = slices.Insert(b.best, at, c)
	if len(b.best) > a.most {
		b.best = b.best[:a.most]
	}
}

// told is how many broken pictures are described in the log.
const told = 10

// inspect says what a picture is, and whether it is one.
func (a *album) inspect(p *photo, data []byte) (picture.Info, bool) {
	if int64(len(data)) > a.maxBytes {
		a.left.tooLarge++
		return picture.Info{}, false
	}
	info, err := picture.Inspect(data, picture.Limits{})
	if err != nil {
		if a.left.broken++; a.left.broken <= told {
			a.env.Log.Warn().Str("photo", p.id).Err(err).Msg("picture left out")
		}
	}
	return info, err == nil
}

// read reads a picture, of a file not much more than maxBytes.
func (a *album) read(at place) ([]byte, error) {
	if at.path == "" {
		data := make([]byte, at.length)
		_, err := a.scratch.ReadAt(data, at.offset)
		return data, err
	}
	file, err := os.Open(at.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, a.maxBytes+1))
}

// report counts what no picture came of. That there is none at all is an error:
// the folder is another one.
func (a *album) report() error {
	wanted, missing := 0, 0
	for _, p := range a.index.photos {
		if p.business == nil {
			continue
		}
		wanted++
		if !p.seen {
			missing++
		}
	}
	for _, c := range []struct {
		name  string
		count int64
	}{
		{"pictures_missing", int64(missing)}, {"pictures_broken", a.left.broken}, {"pictures_too_large", a.left.tooLarge},
		{"pictures_not_listed", a.left.unlisted}, {"duplicate_pictures", a.left.duplicates},
		{"other_files", a.left.other}, {"refused_entries", a.left.refused},
	} {
		a.env.Count(c.name, float64(c.count))
	}
	if wanted > 0 && missing == wanted {
		return fmt.Errorf("none of %d photos is there: is photos the folder or archive of <photo_id>.jpg?", wanted)
	}
	return nil
}
