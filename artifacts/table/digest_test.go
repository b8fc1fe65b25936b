package table

import (
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts"
)

// output writes rows and returns what Close says of them.
func output[Row any](t testing.TB, rows []Row, opts ...Option) artifacts.Output {
	t.Helper()
	w, err := Create[Row](filepath.Join(t.TempDir(), "table.arrow"), opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AppendAll(rows); err != nil {
		t.Fatal(err)
	}
	out, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A column's digest is in keys that stores hold. When these values change,
// nothing that anybody computed before is found again.
func TestGoldenDigests(t *testing.T) {
	for _, c := range output(t, everyTypeRows()).Columns {
		if want := goldenDigests[c.Name]; want != c.Digest {
			t.Errorf("%q: %q,", c.Name, c.Digest)
		}
	}
}

var goldenDigests = map[string]artifacts.Digest{
	"text":         "sha256:d941d53c4157ce0cb5c0a92fe56d7e85aee8c265ce62f07dcce3fac50bcd3ccf",
	"maybe_text":   "sha256:8b9ef4035d1fc60eae0cbc857c2fa833f555ab2cf9b795d2a4a2d497d22472b5",
	"bool":         "sha256:3778ab30671594892dba49c4b705321ed58bbdabc6b91bb47e29900ab4abeb0f",
	"maybe_bool":   "sha256:bd05b0a63d37df79ab0ee48c64b493135ec1229c40b12ecfb7e3c95e6ff28e34",
	"i8":           "sha256:942fd1908b42f8d5608260bd32b6c7e9c055a15789c4ca5be668d0cb13493c95",
	"i16":          "sha256:343c603cc65af58505d6d58af57fde9493de83ea7f36b960c627782695366f39",
	"i32":          "sha256:9c4e55c5eaa393bca3cffaf00ed61bac23ab2b746f2fd04dba01c30767640297",
	"i64":          "sha256:4b83dbb81df28f0b5106a6d1bc73bfa4291d3a8922c870594138a4ce83c816ae",
	"u8":           "sha256:5969071f571dcefdd1773b8e6dab5970de40ed44acdcb46aaed7a3a6252465f9",
	"u16":          "sha256:21d6c4c28d91de76f9f21c90e755e23617ac0d401b16db4f2b31c15054ef3768",
	"u32":          "sha256:d8f6f1df6b7ae0ed47cf9981191bc58f041930f48e197f99b73fc03e913de282",
	"u64":          "sha256:ee9fa516afc510c361b77fb539399e2b23520405e13bf846d39860e897fd2d87",
	"f32":          "sha256:dd5d9d1de06adadda47f7e3cb3b1daf632785b949713a288982ad022bb80cb12",
	"f64":          "sha256:0b44bc030c981927ea10270f610e8e72f927f4e0bf73b44ab342aafe398dba01",
	"maybe_i64":    "sha256:c57a7d05dd1d2706d167936f6d4d42da54a190100618049152a4143408a71d04",
	"maybe_f32":    "sha256:d441a683e6b848f6510f11f7b3af908a4552a26940cdbb66f45a5600d03c1ead",
	"bytes":        "sha256:426b2150fbb52cd91be5bbdf775d140287faaadfda4d391c4e345fbd061386d6",
	"maybe_bytes":  "sha256:a956de9c097e0ae32211973f3a7f2145a3c5dc3cde48b25e78baf07e945ffe27",
	"texts":        "sha256:45a980974b6f294ce492c73fdac0c6afb6cdf864cea435df662d2c5d09b6a9e8",
	"maybe_texts":  "sha256:bafd445a649db6a0dee986fee9ea65ede8d454f6c6143c7398b05bf16d7a7a89",
	"ints":         "sha256:8a0ce85a588764a044fe9dbe56471106201d86214a94feb24c14dab86312469d",
	"longs":        "sha256:c4b859de57b1e9137deb64b5f0420037c376d0563add11abcc7940a6ada8a82b",
	"floats":       "sha256:e752d2abcb0aa7d3578f282afa14beff79220072f9d902e80b1deb8611c4e69c",
	"doubles":      "sha256:a9a03840235e3d57cd81f48bbd7b33aa2525322b555014c845a8fbeb3d06393b",
	"vector":       "sha256:3ddce1ca12c94d898caf61a08c059d7a23e4e15ffa0d52956d96119d5b6c1623",
	"maybe_vector": "sha256:a510fc94ba7726063f66c0db159dd2212aa06cbf1278a49eb1f236ba52b7b579",
}

// randomRows are rows of every type.
func randomRows(t *rapid.T) []everyType {
	text := rapid.StringN(0, 10, -1)
	number := rapid.Float32()
	width := rapid.IntRange(1, 4).Draw(t, "width")
	vector := rapid.SliceOfN(number, width, width)
	row := rapid.Custom(func(t *rapid.T) everyType {
		r := everyType{
			Text: text.Draw(t, "text"), Bool: rapid.Bool().Draw(t, "bool"), I8: rapid.Int8().Draw(t, "i8"),
			I64: rapid.Int64().Draw(t, "i64"), U16: rapid.Uint16().Draw(t, "u16"), F32: number.Draw(t, "f32"), F64: rapid.Float64().Draw(t, "f64"),
			Bytes:  rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "bytes"),
			Texts:  rapid.SliceOfN(text, 0, 3).Draw(t, "texts"),
			Ints:   rapid.SliceOfN(rapid.Int32(), 0, 3).Draw(t, "ints"),
			Floats: rapid.SliceOfN(number, 0, 3).Draw(t, "floats"), Doubles: []float64{},
			Vector: vector.Draw(t, "vector"),
		}
		if rapid.Bool().Draw(t, "present") {
			r.MaybeText, r.MaybeBool = ptr(text.Draw(t, "maybe_text")), ptr(rapid.Bool().Draw(t, "maybe_bool"))
			r.MaybeI64, r.MaybeF32 = ptr(rapid.Int64().Draw(t, "maybe_i64")), ptr(number.Draw(t, "maybe_f32"))
			r.MaybeTexts = rapid.SliceOfN(text, 0, 3).Draw(t, "maybe_texts")
			r.Longs = rapid.SliceOfN(rapid.Int64(), 0, 3).Draw(t, "longs")
			r.MaybeVec = []float32{1, number.Draw(t, "maybe_vector"), 3}
		}
		return r
	})
	return rapid.SliceOfN(row, 1, 40).Draw(t, "rows")
}

// vectorsOf cuts rows into vectors of each column at the given ends.
func vectorsOf(rows []everyType, ends []int) (columns [][]*vector) {
	fields, _ := rowFieldsOf(reflect.TypeFor[everyType]())
	columns = make([][]*vector, len(fields))
	start := 0
	for _, end := range append(ends, len(rows)) {
		var held int64
		for i, f := range fields {
			if f.fixed && f.width == 0 {
				f.width = len(rows[0].Vector)
			}
			b := f.codec.builder(f, &held)
			for j := start; j < end; j++ {
				if err := b.append(unsafe.Pointer(&rows[j])); err != nil {
					panic(err)
				}
			}
			columns[i] = append(columns[i], b.take())
		}
		start = end
	}
	return columns
}

func digestOf(vectors []*vector) artifacts.Digest {
	d := newDigester(vectors[0].dt)
	for _, v := range vectors {
		d.add(v)
	}
	return d.sum()
}

func TestDigestsIgnoreBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := randomRows(t)
		ends := rapid.SliceOfN(rapid.IntRange(0, len(rows)), 0, 5).Draw(t, "ends")
		slices.Sort(ends)
		whole, cut := vectorsOf(rows, nil), vectorsOf(rows, ends)
		for i := range whole {
			if digestOf(whole[i]) != digestOf(cut[i]) {
				t.Errorf("column %d: another digest when cut at %v", i, ends)
			}
		}
	})
}

// Columns have the same digest just when their values are the same.
func TestDigestsTellValuesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := randomRows(t), randomRows(t)
		if rapid.Bool().Draw(t, "close") { // one row apart
			b = slices.Clone(a)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "row")] = everyType{
				Text: "z", Bytes: []byte{1}, Texts: []string{""}, Ints: []int32{0}, Floats: []float32{0}, Doubles: []float64{0}, Vector: make([]float32, len(a[0].Vector)),
			}
		}
		va, vb := vectorsOf(a, nil), vectorsOf(b, nil)
		for i := range va {
			same := cmp.Equal(canonical(va[i][0]), canonical(vb[i][0])) && arrow.TypeEqual(va[i][0].dt, vb[i][0].dt)
			if same != (digestOf(va[i]) == digestOf(vb[i])) {
				t.Errorf("column %d: values the same: %v, digests the opposite", i, same)
			}
		}
	})
}

// canonical is a vector's values as JSON, with floats as their bits.
func canonical(v *vector) []string {
	switch v.dt.ID() {
	case arrow.FLOAT32:
		v.dt = arrow.PrimitiveTypes.Uint32
	case arrow.FLOAT64:
		v.dt = arrow.PrimitiveTypes.Uint64
	}
	for _, c := range v.children {
		canonical(c)
	}
	print := Binary{}.orDefault().jsonCell(v)
	lines := make([]string, v.n)
	for i := range lines {
		lines[i] = string(print(nil, int64(i)))
	}
	return lines
}

func TestFilesReadBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := randomRows(rt)
		path := write(t, rows)
		got, err := ReadAll[everyType](path)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(rows, got, sameBits); diff != "" {
			rt.Error(diff)
		}
		if diff := cmp.Diff(output(t, rows), inspect(t, path)); diff != "" {
			rt.Error(diff)
		}
	})
}

// sameBits compares floats as digests do.
var sameBits = cmp.Options{
	cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
}
