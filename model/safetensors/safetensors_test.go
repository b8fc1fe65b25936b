package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// framed is a file with the given header, whatever it says, and n bytes of data 0, 1, 2, …
func framed(header string, n int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	file = append(file, header...)
	for i := range n {
		file = append(file, byte(i))
	}
	return file
}

func mustWrite(t testing.TB, metadata map[string]string, tensors ...Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustParse(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tensor(name string, d DType, shape []int, data ...byte) Tensor {
	return Tensor{Info: Info{Name: name, DType: d, Shape: shape}, Data: data}
}

// everyType has one tensor of each element type, and the shapes that are easy to get wrong.
func everyType() []Tensor {
	tensors := []Tensor{
		FromFloat32("f32", []int{2, 3}, []float32{0, -1, 2.5, float32(math.Inf(1)), 1e-45, math.MaxFloat32}),
		FromFloat32("scalar", nil, []float32{7}),
		FromFloat32("empty", []int{0, 3}, nil),
		FromInt64("i64", []int{2}, []int64{math.MinInt64, math.MaxInt64}),
	}
	for _, d := range []DType{F64, I32, I16, I8, U64, U32, U16, U8, F16, BF16} {
		data := make([]byte, 3*d.Size())
		for i := range data {
			data[i] = byte(250 + i)
		}
		tensors = append(tensors, tensor(strings.ToLower(string(d)), d, []int{3, 1}, data...))
	}
	return append(tensors, tensor("bool", Bool, []int{3}, 0, 1, 0))
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	metadata := map[string]string{"format": "pt", "note": "ε <&> \"quoted\" \n"}
	tensors := everyType()
	f := mustParse(t, mustWrite(t, metadata, tensors...))
	if diff := cmp.Diff(metadata, f.Metadata()); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, want := range tensors {
		names = append(names, want.Name)
		got, err := f.Tensor(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	slices.Sort(names)
	if !slices.Equal(f.Names(), names) {
		t.Errorf("names %v, want %v", f.Names(), names)
	}
}

func TestBytesDoNotDependOnOrder(t *testing.T) {
	tensors := everyType()
	want := mustWrite(t, map[string]string{"a": "1", "b": "2"}, tensors...)
	for range 10 {
		rand.Shuffle(len(tensors), func(i, j int) { tensors[i], tensors[j] = tensors[j], tensors[i] })
		if !bytes.Equal(want, mustWrite(t, map[string]string{"b": "2", "a": "1"}, tensors...)) {
			t.Fatal("other bytes for the same tensors in another order")
		}
	}
}

// The layout is a contract with other programs, so it is pinned byte for byte.
func TestLayout(t *testing.T) {
	got := mustWrite(t, map[string]string{"k": "v"}, tensor("b", U8, []int{2}, 8, 9), FromInt64("z", nil, []int64{1}), tensor("a", U8, []int{1}, 7))
	header := `{"__metadata__":{"k":"v"},"z":{"dtype":"I64","shape":[],"data_offsets":[0,8]},` +
		`"a":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},"b":{"dtype":"U8","shape":[2],"data_offsets":[9,11]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	want := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	want = append(want, 1, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if empty := mustWrite(t, nil); string(empty[8:]) != "{}      " {
		t.Errorf("a file without tensors is %q", empty)
	}
}

func TestTensorsAreAligned(t *testing.T) {
	data := mustWrite(t, map[string]string{"odd": "x"}, everyType()...)
	f := mustParse(t, data)
	begin := int64(8 + binary.LittleEndian.Uint64(data))
	if begin%8 != 0 {
		t.Errorf("data begins at %d", begin)
	}
	for name, e := range f.entries {
		if (begin+e.begin)%int64(e.DType.Size()) != 0 {
			t.Errorf("%s of %s begins at %d", name, e.DType, begin+e.begin)
		}
	}
}

func TestConversions(t *testing.T) {
	f := mustParse(t, mustWrite(t, nil,
		tensor("f64", F64, []int{1}, 0, 0, 0, 0, 0, 0, 0xf8, 0xbf),
		tensor("f32", F32, []int{1}, 0, 0, 0x80, 0x3f),
		tensor("f16", F16, []int{2}, 0x00, 0xc0, 0xff, 0x7b),
		tensor("bf16", BF16, []int{2}, 0x80, 0x3f, 0x80, 0xff),
		tensor("i32", I32, []int{1}, 0xfe, 0xff, 0xff, 0xff),
		tensor("i16", I16, []int{1}, 0xfe, 0xff),
		tensor("i8", I8, []int{2}, 0xfe, 0x7f),
		tensor("u32", U32, []int{1}, 0xfe, 0xff, 0xff, 0xff),
		tensor("u16", U16, []int{1}, 0xfe, 0xff),
		tensor("u8", U8, []int{1}, 0xfe),
		tensor("u64", U64, []int{1}, 1, 0, 0, 0, 0, 0, 0, 0x80),
		tensor("i64", I64, []int{1}, 1, 0, 0, 0, 0, 0, 0, 0x80),
		tensor("bool", Bool, []int{2}, 1, 0),
		tensor("not bool", Bool, []int{2}, 1, 2),
	))
	inf := float32(math.Inf(-1))
	check := func(got any, err error, want any) {
		t.Helper()
		if err != nil {
			t.Error(err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for name, want := range map[string][]float32{"f32": {1}, "f16": {-2, 65504}, "bf16": {1, inf}} {
		got, err := f.Float32(name)
		check(got, err, want)
	}
	for name, want := range map[string][]float64{"f64": {-1.5}, "f32": {1}, "f16": {-2, 65504}, "bf16": {1, float64(inf)}} {
		got, err := f.Float64(name)
		check(got, err, want)
	}
	for name, want := range map[string][]int64{"i64": {math.MinInt64 + 1}, "i32": {-2}, "i16": {-2}, "i8": {-2, 127}, "u32": {0xfffffffe}, "u16": {0xfffe}, "u8": {0xfe}} {
		got, err := f.Int64(name)
		check(got, err, want)
	}
	truth, err := f.Bool("bool")
	check(truth, err, []bool{true, false})

	_, wide := f.Float32("f64")
	_, whole := f.Float32("i32")
	_, unsigned := f.Int64("u64")
	_, fraction := f.Int64("f32")
	_, number := f.Bool("u8")
	_, two := f.Bool("not bool")
	for _, c := range []struct {
		err  error
		want string
	}{
		{wide, `tensor "f64": cannot give F64 as float32 exactly`},
		{whole, "I32 as float32"}, {unsigned, "U64 as int64"}, {fraction, "F32 as int64"}, {number, "U8 as bool"},
		{two, "element 1 is the byte 2"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", c.err, c.want)
		}
	}
}

// Every half must be the value that its bits mean, computed the slow way.
func TestEveryHalf(t *testing.T) {
	for h := range 1 << 16 {
		got := float64(halfToFloat32(uint16(h)))
		sign, exponent, fraction := 1-2*float64(h>>15), h>>10&0x1f, float64(h&0x3ff)
		var want float64
		switch {
		case exponent == 0x1f && fraction != 0:
			if !math.IsNaN(got) || math.Signbit(got) != (sign < 0) {
				t.Fatalf("%#04x is %v, want NaN", h, got)
			}
			continue
		case exponent == 0x1f:
			want = sign * math.Inf(1)
		case exponent == 0:
			want = sign * fraction * 0x1p-24
		default:
			want = sign * (1 + fraction/1024) * math.Pow(2, float64(exponent-15))
		}
		if math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("%#04x is %v, want %v", h, got, want)
		}
	}
}

func TestLargerThanOnePiece(t *testing.T) {
	values := make([]float32, 100_003)
	for i := range values {
		values[i] = float32(i)
	}
	got, err := mustParse(t, mustWrite(t, nil, FromFloat32("x", []int{len(values)}, values))).Float32("x")
	if err != nil || !slices.Equal(got, values) {
		t.Errorf("values differ, or %v", err)
	}
}

const scalar = `"dtype":"U8","shape":[],"data_offsets":[0,1]`

var malformed = []struct {
	name, header string
	data         int
	want         string
}{
	{"empty header", ``, 0, "begin with {"},
	{"space before", ` {}`, 0, "begin with {"},
	{"array", `[]`, 0, "begin with {"},
	{"cut off", `{"a":{`, 0, "not valid JSON"},
	{"two objects", `{}{}`, 0, "not valid JSON"},
	{"not UTF-8", "{\"\xff\":{" + scalar + "}}", 1, "not valid JSON in UTF-8"},
	{"name twice", `{"a":{` + scalar + `},"a":{` + scalar + `}}`, 1, `"a" twice`},
	{"name twice by escape", `{"a":{` + scalar + `},"\u0061":{` + scalar + `}}`, 1, `"a" twice`},
	{"metadata twice", `{"__metadata__":{},"__metadata__":{}}`, 0, `"__metadata__" twice`},
	{"metadata key twice", `{"__metadata__":{"k":"1","k":"2"}}`, 0, `"k" twice`},
	{"metadata number", `{"__metadata__":{"k":1}}`, 0, "a text is wanted"},
	{"metadata null", `{"__metadata__":null}`, 0, "is wanted"},
	{"tensor is a number", `{"a":1}`, 0, `tensor "a"`},
	{"key twice", `{"a":{` + scalar + `,"dtype":"U8"}}`, 1, `"dtype" twice`},
	{"unknown key", `{"a":{` + scalar + `,"strides":[1]}}`, 1, `unknown key "strides"`},
	{"key in capitals", `{"a":{"DTYPE":"U8","shape":[],"data_offsets":[0,1]}}`, 1, `unknown key "DTYPE"`},
	{"no dtype", `{"a":{"shape":[],"data_offsets":[0,1]}}`, 1, "needs dtype"},
	{"no shape", `{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1, "needs dtype"},
	{"no offsets", `{"a":{"dtype":"U8","shape":[]}}`, 1, "needs dtype"},
	{"unknown type", `{"a":{"dtype":"F4","shape":[],"data_offsets":[0,1]}}`, 1, `"F4" is not supported`},
	{"type of another size", `{"a":{"dtype":"F32","shape":[],"data_offsets":[0,1]}}`, 1, "takes 4"},
	{"shape is null", `{"a":{"dtype":"U8","shape":null,"data_offsets":[0,1]}}`, 1, "is wanted"},
	{"shape with a text", `{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}`, 1, "a number is wanted"},
	{"shape with a fraction", `{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 1, "a whole number"},
	{"shape with an exponent", `{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}`, 1, "a whole number"},
	{"negative dimension", `{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1, "a whole number"},
	{"dimension beyond int64", `{"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}}`, 1, "a whole number"},
	{"product wraps to 0", `{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0, "does not fit"},
	{"product wraps to 1", `{"a":{"dtype":"U8","shape":[4294967297,4294967297],"data_offsets":[0,1]}}`, 1, "does not fit"},
	{"product with the size wraps", `{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}`, 0, "does not fit"},
	{"one offset", `{"a":{"dtype":"U8","shape":[],"data_offsets":[0]}}`, 1, "1 numbers, want 2"},
	{"three offsets", `{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1,2]}}`, 1, "3 numbers, want 2"},
	{"offsets swapped", `{"a":{"dtype":"U8","shape":[],"data_offsets":[1,0]}}`, 1, "hold -1 bytes"},
	{"negative offset", `{"a":{"dtype":"U8","shape":[],"data_offsets":[-1,0]}}`, 1, "a whole number"},
	{"behind the end", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 1, "cut off"},
	{"far behind the end", `{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}`, 1, "cut off"},
	{"something behind", `{"a":{` + scalar + `}}`, 2, "something behind"},
	{"data without tensors", `{}`, 1, "something behind"},
	{"gap", `{"a":{` + scalar + `},"b":{"dtype":"U8","shape":[],"data_offsets":[2,3]}}`, 3, "gap"},
	{"overlap", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3, "overlap"},
	{"the same bytes twice", `{"a":{` + scalar + `},"b":{` + scalar + `}}`, 1, "overlap"},
}

func TestMalformed(t *testing.T) {
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(framed(c.header, c.data))
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a format error with %q", err, c.want)
			}
		})
	}
	for name, data := range map[string][]byte{
		"nothing":                  nil,
		"seven bytes":              make([]byte, 7),
		"header length 0":          make([]byte, 8),
		"longer than the file":     {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'},
		"longer than memory":       {255, 255, 255, 255, 255, 255, 255, 255, '{', '}'},
		"negative as a signed one": {0, 0, 0, 0, 0, 0, 0, 128, '{', '}'},
	} {
		if _, err := Parse(data); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A header above the limit must be refused before it is read, even in a file that is as large as it says.
func TestHeaderLimit(t *testing.T) {
	length := binary.LittleEndian.AppendUint64(nil, maxHeaderSize+1)
	if _, err := Open(bytes.NewReader(length), math.MaxInt64); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}

func TestFileShorterThanPromised(t *testing.T) {
	data := mustWrite(t, nil, FromFloat32("x", []int{4}, make([]float32, 4)))
	for cut := range len(data) {
		f, err := Open(bytes.NewReader(data[:cut]), int64(len(data)))
		if err == nil {
			_, err = f.Float32("x")
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut to %d bytes: got %v", cut, err)
		}
	}
}

func TestAskingForTheWrongThing(t *testing.T) {
	f := mustParse(t, mustWrite(t, nil, tensor("a", U8, []int{2}, 1, 2)))
	_, info := f.Info("b")
	_, raw := f.Tensor("b")
	_, floats := f.Float32("b")
	for _, err := range []error{info, raw, floats, f.Read("b", nil)} {
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `"b"`) {
			t.Errorf("got %v", err)
		}
	}
	if err := f.Read("a", make([]byte, 3)); err == nil || !strings.Contains(err.Error(), "room for 3 bytes, want 2") {
		t.Errorf("got %v", err)
	}
}

func TestChangingTheAnswersChangesNothing(t *testing.T) {
	f := mustParse(t, mustWrite(t, map[string]string{"k": "v"}, tensor("a", U8, []int{2}, 1, 2)))
	info, err := f.Info("a")
	if err != nil {
		t.Fatal(err)
	}
	info.Shape[0] = 9
	f.Metadata()["k"] = "w"
	if again, _ := f.Info("a"); again.Shape[0] != 2 || f.Metadata()["k"] != "v" {
		t.Error("the file's own description was handed out")
	}
}

func TestRefusesToWrite(t *testing.T) {
	good := tensor("a", U8, []int{1}, 1)
	for _, c := range []struct {
		name     string
		metadata map[string]string
		tensors  []Tensor
		want     string
	}{
		{"name twice", nil, []Tensor{good, tensor("b", F32, []int{0}), good}, `"a" is taken twice`},
		{"name of the format", nil, []Tensor{tensor("__metadata__", U8, []int{0})}, "by the format"},
		{"name not UTF-8", nil, []Tensor{tensor("\xff", U8, []int{0})}, "UTF-8"},
		{"unknown type", nil, []Tensor{tensor("a", "F4", nil, 1)}, `"F4" is not supported`},
		{"data of another size", nil, []Tensor{tensor("a", F32, []int{2}, 1, 2, 3, 4)}, "4 bytes of data, but shape [2] of F32 takes 8"},
		{"negative dimension", nil, []Tensor{tensor("a", U8, []int{-1}, 1)}, "does not fit"},
		{"metadata not UTF-8", map[string]string{"k": "\xff"}, []Tensor{good}, `metadata "k"`},
		{"metadata key not UTF-8", map[string]string{"\xff": "v"}, []Tensor{good}, "UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Write(&b, c.metadata, c.tensors); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if b.Len() != 0 {
				t.Errorf("%d bytes were written all the same", b.Len())
			}
		})
	}
}

// failing fails at the n-th call.
type failing struct{ n int }

func (w *failing) Write(p []byte) (int, error) {
	if w.n--; w.n < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestWriteErrorsAreReported(t *testing.T) {
	for n := range 3 {
		err := Write(&failing{n}, nil, []Tensor{tensor("a", U8, nil, 1), tensor("b", U8, nil, 2)})
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("failing at write %d: got %v", n, err)
		}
	}
}

// A file that another program wrote, which sorts by name only.
func TestGoldenFile(t *testing.T) {
	file, err := os.Open("../prism/testdata/sasrec_prism.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(file, stat.Size())
	if err != nil {
		t.Fatal(err)
	}
	if got := len(f.Names()); got != 222 {
		t.Errorf("%d tensors, want 222", got)
	}
	if got := f.Metadata()["hidden_size"]; got != "16" {
		t.Errorf("hidden_size is %q", got)
	}
	ids, err := f.Int64("input.item_ids")
	if err != nil || len(ids) != 6*8 || slices.Max(ids) > 40 || slices.Min(ids) != 0 {
		t.Errorf("item ids %v, %v", ids, err)
	}
	for _, name := range f.Names() {
		info, err := f.Info(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.DType != F32 {
			continue
		}
		values, err := f.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if v != v || math.Abs(float64(v)) > 1e3 {
				t.Fatalf("%s holds %v: read from the wrong place", name, v)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(mustWrite(f, map[string]string{"k": "v"}, everyType()...))
	f.Add(mustWrite(f, nil))
	for _, c := range malformed {
		f.Add(framed(c.header, c.data))
	}
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'})
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		var tensors []Tensor
		for _, name := range file.Names() {
			read, err := file.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, read)
			// A valid tensor is read by one of these or refused, never by chance.
			_, _ = file.Float64(name)
			_, _ = file.Int64(name)
			_, _ = file.Bool(name)
		}
		again := mustParse(t, mustWrite(t, file.Metadata(), tensors...))
		for _, want := range tensors {
			got, err := again.Tensor(want.Name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		}
		if len(again.Names()) != len(tensors) || fmt.Sprint(again.Metadata()) != fmt.Sprint(file.Metadata()) {
			t.Fatal("another file after writing it again")
		}
	})
}

func BenchmarkFloat32(b *testing.B) {
	for _, d := range []DType{F32, F16} {
		b.Run(string(d), func(b *testing.B) {
			const n = 12102 * 64
			f := mustParse(b, mustWrite(b, nil, tensor("x", d, []int{n}, make([]byte, n*d.Size())...)))
			b.SetBytes(int64(n * d.Size()))
			for b.Loop() {
				if _, err := f.Float32("x"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is read in parts is what is read at once.
func TestParts(t *testing.T) {
	for _, x := range everyType() {
		f := mustParse(t, mustWrite(t, nil, everyType()...))
		section, err := f.Section(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(section)
		if err != nil || !bytes.Equal(raw, x.Data) {
			t.Fatalf("tensor %q: read %x and %v, want %x", x.Name, raw, err, x.Data)
		}
		values := make([]float64, len(raw)/x.DType.Size())
		want, wantErr := f.Float64(x.Name)
		if err := x.DType.Float64s(values, raw); (err != nil) != (wantErr != nil) {
			t.Fatalf("tensor %q: error %v, want %v", x.Name, err, wantErr)
		}
		if wantErr == nil && !slices.EqualFunc(values, want, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
			t.Errorf("tensor %q: %v, want %v", x.Name, values, want)
		}
	}
	if err := F32.Float64s(make([]float64, 2), make([]byte, 7)); err == nil {
		t.Error("7 bytes were two elements")
	}
	if _, err := mustParse(t, mustWrite(t, nil)).Section("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want %v", err, ErrNotFound)
	}
}
