package vectors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/artifacts/table/foreign/foreigntest"
	"github.com/prismflow/prismflow/artifacts/table/parquet"
	"github.com/prismflow/prismflow/model/safetensors"
)

var columns = Options{ItemColumn: "item", VectorColumn: "vector"}

// readAll reads a file, as vectors of their own.
func readAll(path string, o Options) (*File, []Row, error) {
	f, err := Open(path, o)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var rows []Row
	for row, err := range f.All() {
		if err != nil {
			return f, rows, err
		}
		row.Vector = append([]float64(nil), row.Vector...)
		rows = append(rows, row)
	}
	if int64(len(rows)) != f.Rows() {
		return f, rows, fmt.Errorf("%d rows where the file says %d", len(rows), f.Rows())
	}
	return f, rows, nil
}

// npy is a file as numpy.save writes it.
func npy(major byte, header string, data ...byte) []byte {
	length := binary.LittleEndian.AppendUint16(nil, uint16(len(header)))
	if major >= 2 {
		length = binary.LittleEndian.AppendUint32(nil, uint32(len(header)))
	}
	return append(append(append([]byte(npyMagic), major, 0), length...), append([]byte(header), data...)...)
}

func littleEndian(t testing.TB, values any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNPY(t *testing.T) {
	want := []Row{{Vector: []float64{1, -2, 0.5}}, {Vector: []float64{0, 65504, math.Inf(-1)}}}
	float32s := []float32{1, -2, 0.5, 0, 65504, float32(math.Inf(-1))}
	for name, data := range map[string][]byte{
		// As NumPy 1 and 2 pad it: with spaces and a line feed, to a multiple of 64.
		"float32":   npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"+strings.Repeat(" ", 58)+"\n", littleEndian(t, float32s)...),
		"float16":   npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }\n", littleEndian(t, []uint16{0x3c00, 0xc000, 0x3800, 0, 0x7bff, 0xfc00})...),
		"float64":   npy(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }\n", littleEndian(t, []float64{1, -2, 0.5, 0, 65504, math.Inf(-1)})...),
		"python 2":  npy(1, "{'shape': (2L, 3L), 'fortran_order': False, 'descr': '<f4'}", littleEndian(t, float32s)...),
		"subnormal": npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 1)}", 1, 0),
		"no rows":   npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (0, 1)}"),
	} {
		want := want
		switch name {
		case "subnormal":
			want = []Row{{Vector: []float64{0x1p-24}}}
		case "no rows":
			want = nil
		}
		f, got, err := readAll(foreigntest.Write(t, data), Options{})
		if err != nil || f.Named() {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestNPYThatIsRefused(t *testing.T) {
	header := func(descr, order, shape string) []byte {
		return npy(1, "{'descr': "+descr+", 'fortran_order': "+order+", 'shape': "+shape+", }", 1, 2, 3, 4)
	}
	for want, data := range map[string][]byte{
		"pickled Python objects, which are never read": header("'|O'", "False", "(1, 1)"),
		"big-endian (>f4)":                                                header("'>f4'", "False", "(1, 1)"),
		`of type "<i4", not of floats`:                                    header("'<i4'", "False", "(1, 1)"),
		"an array of records":                                             header("[('x', '<f4')]", "False", "(1, 1)"),
		"stored by columns (Fortran order)":                               header("'<f4'", "True", "(1, 1)"),
		"has no fortran_order":                                            header("'<f4'", "None", "(1, 1)"),
		"an array of 1 axes":                                              header("'<f4'", "False", "(1,)"),
		"an array of 3 axes":                                              header("'<f4'", "False", "(1, 1, 1)"),
		"has no shape":                                                    header("'<f4'", "False", "1"),
		"an axis that is no number from 0":                                header("'<f4'", "False", "(-1, 1)"),
		"vectors of 0 components":                                         header("'<f4'", "False", "(1, 0)"),
		"vectors of 4611686018427387904 components":                       header("'<f4'", "False", "(4, 4611686018427387904)"),
		"says 4611686018427387904 rows of 16 bytes":                       header("'<f4'", "False", "(4611686018427387904, 4)"),
		"says 2 rows of 4 bytes, and the file has 4 bytes behind it":      header("'<f4'", "False", "(2, 1)"),
		"says 0 rows of 4 bytes, and the file has 4 bytes behind it":      header("'<f4'", "False", "(0, 1)"),
		"is no Python literal":                                            header("__import__('os').system('x')", "False", "(1, 1)"),
		"is no dict":                                                      npy(1, "('<f4', False, (1, 1))"),
		"version 3.0: versions 1 and 2":                                   npy(3, "{}"),
		"reading the .npy header: unexpected EOF":                         npy(1, "{}")[:9],
		"an .npy header of 4294967295 bytes, and at most 65536 are read":  append([]byte(npyMagic), 2, 0, 255, 255, 255, 255),
		"neither .npy nor safetensors, Parquet or Arrow":                  []byte("1,2,3\n"),
		"a zip file, such as .npz or .pt: take the array out of it":       []byte("PK\x03\x04xxxxxxx"),
		"a pickle: save the array with numpy.save":                        []byte("\x80\x04\x95xxxxxxx"),
		"an Arrow stream: write an Arrow file, with pyarrow.ipc.new_file": []byte("\xff\xff\xff\xffxxxxxxx"),
	} {
		if _, got, err := readAll(foreigntest.Write(t, data), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v and %v, want %q", got, err, want)
		}
	}
}

func tensors(t testing.TB, list ...safetensors.Tensor) string {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, nil, list); err != nil {
		t.Fatal(err)
	}
	return foreigntest.Write(t, b.Bytes())
}

func TestSafetensors(t *testing.T) {
	a := safetensors.FromFloat32("a", []int{2, 2}, []float32{1, 2, 3, 4})
	b := safetensors.Tensor{Info: safetensors.Info{Name: "b", DType: safetensors.BF16, Shape: []int{1, 2}}, Data: []byte{0x80, 0x3f, 0, 0xc0}}
	ids := safetensors.FromInt64("ids", []int{2}, []int64{1, 2})
	want := []Row{{Vector: []float64{1, 2}}, {Vector: []float64{3, 4}}}
	for _, c := range []struct {
		path, tensor string
		want         []Row
		err          string
	}{
		{tensors(t, a), "", want, ""},
		{tensors(t, a, b, ids), "a", want, ""},
		{tensors(t, a, b, ids), "b", []Row{{Vector: []float64{1, -2}}}, ""},
		{tensors(t, a, b, ids), "", nil, "the file has 3 tensors: say which (a, b, ids)"},
		{tensors(t, a, b, ids), "id", nil, "no such tensor among the 3 of the file (did you mean ids?); the file has a, b, ids"},
		{tensors(t, a, ids), "ids", nil, `tensor "ids" is of type I64, not of floats`},
		{tensors(t, safetensors.FromFloat32("x", []int{4}, make([]float32, 4))), "", nil, "has the shape [4]: a matrix of one row an item has two axes"},
		{tensors(t, safetensors.FromFloat32("x", []int{4, 0}, nil)), "", nil, "vectors of 0 components"},
		{foreigntest.Write(t, []byte("\x02\x00\x00\x00\x00\x00\x00\x00{")), "", nil, "not a valid safetensors file"},
	} {
		_, got, err := readAll(c.path, Options{Tensor: c.tensor})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%v, (-want +got)\n%s", err, diff)
		}
	}
}

// named is a row of a table.
type named struct {
	Item   string    `arrow:"item"`
	Vector []float32 `arrow:"vector,fixed"`
}

func arrowFile[R any](t testing.TB, rows ...R) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.arrow")
	w, err := table.Create[R](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AppendAll(rows); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func asParquet(t testing.TB, path string) string {
	t.Helper()
	var b bytes.Buffer
	if err := parquet.Write(&b, path); err != nil {
		t.Fatal(err)
	}
	return foreigntest.Write(t, b.Bytes())
}

// What a team writes has lists of either kind and precision, and ids of either
// kind.
func TestArrowAndParquet(t *testing.T) {
	type doubles struct {
		Vector []float64 `arrow:"vector,nullable"`
		Other  []byte    `arrow:"other"`
		Item   int64     `arrow:"item"`
	}
	type floats struct {
		Item   int32     `arrow:"item"`
		Vector []float32 `arrow:"vector"`
	}
	for name, c := range map[string]struct {
		arrow string
		want  []Row
	}{
		"fixed": {
			arrowFile(t, named{"b", []float32{1, 2}}, named{"ä", []float32{3, 4}}),
			[]Row{{"b", []float64{1, 2}}, {"ä", []float64{3, 4}}},
		},
		"doubles": {
			arrowFile(t, doubles{Vector: []float64{1, 1e300}, Item: -1}, doubles{Item: 1 << 60}, doubles{Vector: []float64{}, Item: 7}, doubles{Vector: []float64{0, 2}, Item: 8}),
			[]Row{{"-1", []float64{1, 1e300}}, {"1152921504606846976", nil}, {"7", nil}, {"8", []float64{0, 2}}},
		},
		"floats": {
			arrowFile(t, floats{3, []float32{1}}, floats{4, []float32{2}}),
			[]Row{{"3", []float64{1}}, {"4", []float64{2}}},
		},
	} {
		for format, path := range map[string]string{"Arrow": c.arrow, "Parquet": asParquet(t, c.arrow)} {
			f, got, err := readAll(path, columns)
			if err != nil || !f.Named() {
				t.Errorf("%s as %s: %v", name, format, err)
				continue
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s as %s: (-want +got)\n%s", name, format, diff)
			}
		}
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	type row struct {
		Item   string    `arrow:"item"`
		Ratio  float32   `arrow:"ratio"`
		Texts  []string  `arrow:"texts"`
		Vector []float32 `arrow:"vector"`
	}
	ok := row{Item: "a", Texts: []string{"t"}, Vector: []float32{1, 2}}
	for _, c := range []struct {
		rows         []row
		item, vector string
		want         string
	}{
		{[]row{ok}, "items", "vector", `no column "items"; the columns are item, ratio, texts, vector`},
		{[]row{ok}, "item", "image", `no column "image"; the columns are item, ratio, texts, vector`},
		{[]row{ok}, "ratio", "vector", `column "ratio" is of type `},
		{[]row{ok}, "vector", "vector", `column "vector" is of type `},
		{[]row{ok}, "item", "ratio", `column "ratio" is of type `},
		{[]row{ok}, "item", "texts", `column "texts" is of type `},
		{[]row{ok, {Item: "b", Vector: []float32{1}}}, "item", "vector", "row 1: a vector of 1 components, where those before have 2"},
		{[]row{ok, ok, {Item: "", Vector: []float32{1, 2}}}, "item", "vector", "row 2: no item"},
		{[]row{{Item: "b", Texts: []string{"t"}, Vector: make([]float32, MaxWidth+1)}}, "item", "vector", "elements, and at most 65536 are read"},
	} {
		path := arrowFile(t, c.rows...)
		for format, path := range map[string]string{"Arrow": path, "Parquet": asParquet(t, path)} {
			_, got, err := readAll(path, Options{ItemColumn: c.item, VectorColumn: c.vector})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v and %v, want %q", format, got, err, c.want)
			}
		}
	}
}

// A row group of more cells than are decoded at once.
func TestLargeParquet(t *testing.T) {
	var rows []named
	for i := range 3000 {
		vector := make([]float32, 7)
		for j := range vector {
			vector[j] = float32(i*7 + j)
		}
		rows = append(rows, named{fmt.Sprint(i), vector})
	}
	_, got, err := readAll(asParquet(t, arrowFile(t, rows...)), columns)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range got {
		if row.Item != fmt.Sprint(i) || row.Vector[0] != float64(i*7) || row.Vector[6] != float64(i*7+6) {
			t.Fatalf("row %d is %v", i, row)
		}
	}
}

func seeds(t testing.TB) [][]byte {
	arrow := arrowFile(t, named{"b", []float32{1, 2}}, named{"a", []float32{3, 4}})
	var all [][]byte
	for _, path := range []string{arrow, asParquet(t, arrow), tensors(t, safetensors.FromFloat32("a", []int{2, 2}, []float32{1, 2, 3, 4}))} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return append(all,
		npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }", 0, 0, 0, 0, 0, 0, 128, 63),
	)
}

// A flipped bit anywhere gives an error or other values, and nothing worse.
func TestFlippedBits(t *testing.T) {
	for _, whole := range seeds(t) {
		path := foreigntest.Write(t, whole)
		for at := range whole {
			broken := bytes.Clone(whole)
			broken[at] ^= 1 << (at % 8)
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			_, rows, err := readAll(path, columns)
			if err == nil && len(rows) > 1000 {
				t.Errorf("byte %d: %d rows", at, len(rows))
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, _ = readAll(path, columns)
	})
}
