package features

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/features/vectors"
)

// A modality is what an import reads for one kind of vector.
type modality struct {
	name    string
	files   []stages.File
	ids     []stages.File // its own
	options vectors.Options
}

// imported are the vectors of one modality, by the number of the item.
type imported struct {
	width     int
	present   []bool
	vectors   []float32
	zero      []float32 // of an item without a vector
	sharedIDs bool      // whether the ids of all modalities were needed
}

// of is an item's vector, zero where it has none.
func (v *imported) of(item int) (vector []float32, present bool) {
	if v.present == nil || !v.present[item] {
		return v.zero, false
	}
	return v.vectors[item*v.width : (item+1)*v.width], true
}

// modality reads the vectors of one modality; items are their numbers by
// external id.
func (s *Import) modality(ctx context.Context, env *stages.Env, items map[string]int, m modality) (*imported, error) {
	if len(m.files) == 0 {
		return &imported{width: absentWidth, zero: make([]float32, absentWidth)}, nil
	}
	named, matrices, err := rowsOf(m)
	if err != nil {
		return nil, err
	}
	im := &importer{items: items, normalise: s.Normalise, seen: map[string]rowPlace{}, into: imported{present: make([]bool, len(items))}}
	if err := im.readIDs(ctx, env, m, s.IDs.Files(), matrices); err != nil {
		return nil, err
	}
	for _, file := range m.files {
		err := im.read(file, m.options, func(done int64) error {
			env.Progress(done, named+matrices, "vectors")
			return ctx.Err()
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
	}
	im.report(env, m.name)
	return im.result()
}

// rowsOf counts the rows that say whose vector they are, and those of matrices,
// which do not.
func rowsOf(m modality) (named, matrices int64, err error) {
	for _, file := range m.files {
		f, err := vectors.Open(file.Path, m.options)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", file.Name, err)
		}
		if f.Named() {
			named += f.Rows()
		} else {
			matrices += f.Rows()
		}
		if err := f.Close(); err != nil {
			return 0, 0, err
		}
	}
	return named, matrices, nil
}

// An importer takes in rows.
type importer struct {
	items     map[string]int
	normalise bool
	ids       []string // of the rows of matrices that are still to come
	seen      map[string]rowPlace
	into      imported

	rows, unknown, empty, zeros int64
	firstUnknown                string
}

// A rowPlace is a row of a file.
type rowPlace struct {
	file string
	row  int64
}

func (p rowPlace) String() string { return fmt.Sprintf("row %d of %s", p.row, p.file) }

// readIDs reads whose vectors the rows of matrices are.
func (im *importer) readIDs(ctx context.Context, env *stages.Env, m modality, shared []stages.File, rows int64) error {
	files := m.ids
	switch im.into.sharedIDs = len(files) == 0 && len(shared) > 0 && rows > 0; {
	case im.into.sharedIDs:
		files = shared
	case len(files) > 0 && rows == 0:
		return fmt.Errorf("%s_ids is not needed: the files have ids of their own", m.name)
	case rows == 0:
		return nil
	case len(files) == 0:
		return fmt.Errorf("%s does not say whose vector a row is: set ids to a file of one external item id a line", m.files[0].Name)
	}
	var err error
	if im.ids, err = readIDs(ctx, env, files); err != nil {
		return err
	}
	if int64(len(im.ids)) != rows {
		return fmt.Errorf("%d rows of vectors, but %d ids in %s: row i must belong to the i-th id", rows, len(im.ids), files[0].Name)
	}
	return nil
}

// read takes in the rows of a file. It tells progress how many rows there were
// so far, of all files, now and then.
func (im *importer) read(file stages.File, options vectors.Options, progress func(int64) error) error {
	f, err := vectors.Open(file.Path, options)
	if err != nil {
		return err
	}
	defer f.Close()
	var n int64
	for row, err := range f.All() {
		if err != nil {
			return err
		}
		if !f.Named() {
			row.Item, im.ids = im.ids[0], im.ids[1:]
		}
		place := rowPlace{file.Name, n}
		if earlier, twice := im.seen[row.Item]; twice {
			return fmt.Errorf("item %.40q has two vectors: %v and %v", row.Item, earlier, place)
		}
		im.seen[row.Item] = place
		if err := im.take(row); err != nil {
			return fmt.Errorf("row %d, item %.40q: %w", n, row.Item, err)
		}
		n++
		if im.rows++; im.rows%1024 == 0 {
			if err := progress(im.rows); err != nil {
				return err
			}
		}
	}
	return progress(im.rows)
}

// take keeps a row's vector, if it is one of the items'.
func (im *importer) take(row vectors.Row) error {
	if row.Vector == nil {
		im.empty++
	}
	for i, x := range row.Vector {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("component %d is %v", i, x)
		}
	}
	item, known := im.items[row.Item]
	if !known {
		if im.unknown++; im.unknown == 1 {
			im.firstUnknown = row.Item
		}
		return nil
	}
	if row.Vector == nil {
		return nil
	}
	if im.into.width == 0 {
		im.into.width = len(row.Vector)
		im.into.vectors = make([]float32, len(im.items)*im.into.width)
	}
	if len(row.Vector) != im.into.width {
		return fmt.Errorf("a vector of %d components, where those of other files have %d", len(row.Vector), im.into.width)
	}
	present, err := im.put(im.into.vectors[item*im.into.width:][:im.into.width], row.Vector)
	im.into.present[item] = present
	im.zeros += int64(count(err == nil && !present))
	return err
}

// put puts a vector into to, and reports whether it has a length.
func (im *importer) put(to []float32, vector []float64) (present bool, err error) {
	largest, length := 1.0, 1.0
	if im.normalise {
		largest, length = measure(vector)
	}
	for i, x := range vector {
		if x != 0 {
			x = x / largest / length
		}
		to[i] = float32(x)
		if math.IsInf(float64(to[i]), 0) {
			return false, fmt.Errorf("component %d is %v, beyond float32", i, x)
		}
		present = present || to[i] != 0
	}
	return present, nil
}

// measure is the largest absolute component of a vector, and its Euclidean
// length in units of that: squares of float64 may be beyond float64.
func measure(vector []float64) (largest, length float64) {
	for _, x := range vector {
		largest = max(largest, math.Abs(x))
	}
	var sum float64
	for _, x := range vector {
		if x != 0 {
			sum += x / largest * (x / largest)
		}
	}
	return largest, math.Sqrt(sum)
}

func (im *importer) report(env *stages.Env, name string) {
	if im.unknown > 0 {
		env.Log.Warn().Int64("rows", im.unknown).Str("first", im.firstUnknown).Msg(name + " vectors of items that are not in items are left out")
	}
	env.Count(name+"_rows", float64(im.rows))
	env.Count(name+"_unknown_items", float64(im.unknown))
	env.Count(name+"_empty_vectors", float64(im.empty))
	env.Count(name+"_zero_vectors", float64(im.zeros))
}

// result is what was imported, which must be something.
func (im *importer) result() (*imported, error) {
	if im.into.width == 0 {
		return nil, errors.New("the source has vectors of none of the items: is it that of these items?")
	}
	im.into.zero = make([]float32, im.into.width)
	return &im.into, nil
}
