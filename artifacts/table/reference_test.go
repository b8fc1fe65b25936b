package table

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/prismflow/prismflow/artifacts"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; it is now\n%s", path, got)
	}
}

// referenceDigest follows the definition in digest.go value by value, on the
// Arrow library's own arrays.
func referenceDigest(a arrow.Array) artifacts.Digest {
	root := &referenceNode{}
	for i := range a.Len() {
		root.add(a, i)
	}
	root.complete(a.DataType())
	name := strings.NewReplacer("string_view", "utf8", "binary_view", "binary").Replace(typeName(a.DataType()))
	var b bytes.Buffer
	b.WriteString("prismflow column 1\x00")
	b.Write(binary.AppendUvarint(nil, uint64(len(name))))
	b.WriteString(name)
	root.write(&b)
	return artifacts.DigestOf(b.Bytes())
}

type referenceNode struct {
	flags           []bool
	lengths, values []byte
	children        []*referenceNode
}

func (n *referenceNode) child(i int) *referenceNode {
	for len(n.children) <= i {
		n.children = append(n.children, &referenceNode{})
	}
	return n.children[i]
}

func (n *referenceNode) add(a arrow.Array, i int) {
	if d, ok := a.(*array.Dictionary); ok {
		if d.IsNull(i) || d.Dictionary().IsNull(d.GetValueIndex(i)) {
			n.flags = append(n.flags, false)
			return
		}
		n.add(d.Dictionary(), d.GetValueIndex(i))
		return
	}
	n.flags = append(n.flags, a.IsValid(i))
	if a.IsNull(i) {
		return
	}
	switch a := a.(type) {
	case *array.Boolean:
		n.values = append(n.values, map[bool]byte{true: 1}[a.Value(i)])
	case *array.String:
		n.text([]byte(a.Value(i)))
	case *array.LargeString:
		n.text([]byte(a.Value(i)))
	case *array.StringView:
		n.text([]byte(a.Value(i)))
	case *array.BinaryView:
		n.text(a.Value(i))
	case *array.Binary:
		n.text(a.Value(i))
	case *array.LargeBinary:
		n.text(a.Value(i))
	case *array.Struct:
		for j := range a.NumField() {
			n.child(j).add(a.Field(j), i)
		}
	case array.ListLike:
		from, to := a.ValueOffsets(i)
		if a.DataType().ID() != arrow.FIXED_SIZE_LIST {
			n.lengths = binary.AppendUvarint(n.lengths, uint64(to-from))
		}
		for j := from; j < to; j++ {
			n.child(0).add(a.ListValues(), int(j))
		}
	default:
		width := a.DataType().(arrow.FixedWidthDataType).Bytes()
		at := (i + a.Data().Offset()) * width
		n.values = append(n.values, a.Data().Buffers()[1].Bytes()[at:at+width]...)
	}
}

func (n *referenceNode) text(b []byte) {
	n.lengths = binary.AppendUvarint(n.lengths, uint64(len(b)))
	n.values = append(n.values, b...)
}

// complete adds the children that no value had.
func (n *referenceNode) complete(dt arrow.DataType) {
	for i, child := range childTypes(dt) {
		n.child(i).complete(child)
	}
}

func (n *referenceNode) write(b *bytes.Buffer) {
	b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(n.flags))))
	var runs []byte
	run, valid := uint64(0), true
	for _, f := range n.flags {
		if f != valid {
			runs = binary.AppendUvarint(runs, run)
			run, valid = 0, f
		}
		run++
	}
	if run > 0 {
		runs = binary.AppendUvarint(runs, run)
	}
	for _, stream := range [][]byte{runs, n.lengths, n.values} {
		sum := sha256.Sum256(stream)
		b.Write(sum[:])
	}
	for _, c := range n.children {
		c.write(b)
	}
}
