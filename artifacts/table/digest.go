package table

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/prismflow/prismflow/artifacts"
)

// A column's digest depends on its type and its logical values, and on
// nothing else: not on record batches, compression, dictionaries, offset
// widths, the column's name or place, nor on what lies under a null. It is
//
//	SHA-256( "prismflow column 1\x00" ‖ uvarint(len(type)) ‖ type ‖ part … )
//
// with type the canonical name (typeName), and one part for each node of the
// type's tree, parents before children, children in order:
//
//	part     = count ‖ SHA-256(validity) ‖ SHA-256(lengths) ‖ SHA-256(values)
//	count    = number of values at the node, uint64 little-endian
//	validity = lengths of the alternating runs of valid and null values as
//	           uvarints, the first of valid ones (0 where the first is null)
//	lengths  = for text, binary and lists: of each valid value, the number of
//	           bytes or elements, as uvarint; for other types nothing
//	values   = of each valid value: fixed-width types their little-endian
//	           bytes, booleans a byte 0 or 1, text and binary their bytes;
//	           lists and structs nothing
//
// The values at a root are the column's rows. Those at a child are the
// elements of its parent's valid values: nothing below a null counts. Floats
// count by their bits, so that −0 is not 0 and NaNs differ by payload.
//
// The three streams make the encoding injective (each is prefix-free given
// the count and type) and let whole buffers be hashed where nothing is null.
const digestDomain = "prismflow column 1\x00"

// A digester computes one column's digest, batch after batch.
type digester struct {
	dt   arrow.DataType
	root *digestNode
}

func newDigester(dt arrow.DataType) *digester {
	return &digester{dt: dt, root: newDigestNode(dt)}
}

// add appends the values of v, whose type is the digester's.
func (d *digester) add(v *vector) { d.root.add(v, 0, v.n) }

// sum is the digest of all that was added. Nothing may be added after it.
func (d *digester) sum() artifacts.Digest {
	h := sha256.New()
	name := typeName(d.dt)
	h.Write([]byte(digestDomain))
	h.Write(binary.AppendUvarint(nil, uint64(len(name))))
	h.Write([]byte(name))
	d.root.sumInto(h)
	return artifacts.DigestOfHash(h)
}

type digestNode struct {
	count    uint64
	validity runLengths
	lengths  hashStream
	values   hashStream
	children []*digestNode
}

func newDigestNode(dt arrow.DataType) *digestNode {
	n := &digestNode{
		validity: runLengths{stream: newHashStream(), valid: true},
		lengths:  newHashStream(),
		values:   newHashStream(),
	}
	for _, child := range childTypes(dt) {
		n.children = append(n.children, newDigestNode(child))
	}
	return n
}

// add appends the values [from,to) of v.
func (n *digestNode) add(v *vector, from, to int64) {
	n.count += uint64(to - from)
	v.runs(from, to, func(valid bool, a, b int64) {
		n.validity.add(valid, uint64(b-a))
		if valid {
			n.addValid(v, a, b)
		}
	})
}

// addValid appends the values [a,b), none of which is null. Their elements or
// bytes are contiguous, since only a null may skip some.
func (n *digestNode) addValid(v *vector, a, b int64) {
	switch layoutOf(v.dt) {
	case layoutBool:
		for i := a; i < b; i++ {
			n.values.writeByte(v.data[i/8] >> (i % 8) & 1)
		}
	case layoutFixed:
		width := byteWidth(v.dt)
		n.values.write(v.data[a*width : b*width])
	case layoutVar, layoutLargeVar:
		n.addLengths(v, a, b)
		from, to := v.extent(a, b)
		n.values.write(v.data[from:to])
	case layoutList, layoutLargeList:
		n.addLengths(v, a, b)
		from, to := v.extent(a, b)
		n.children[0].add(v.children[0], from, to)
	case layoutFixedList:
		width := int64(v.dt.(*arrow.FixedSizeListType).Len())
		n.children[0].add(v.children[0], a*width, b*width)
	case layoutStruct:
		for i, child := range v.children {
			n.children[i].add(child, a, b)
		}
	}
}

func (n *digestNode) addLengths(v *vector, a, b int64) {
	if v.large != nil {
		addLengths(&n.lengths, v.large[a:b+1])
		return
	}
	addLengths(&n.lengths, v.offsets[a:b+1])
}

func addLengths[O offset](s *hashStream, offsets []O) {
	for i, from := range offsets[:len(offsets)-1] {
		s.writeUvarint(uint64(offsets[i+1] - from))
	}
}

func (n *digestNode) sumInto(h hash.Hash) {
	h.Write(binary.LittleEndian.AppendUint64(nil, n.count))
	h.Write(n.validity.sum())
	h.Write(n.lengths.sum())
	h.Write(n.values.sum())
	for _, child := range n.children {
		child.sumInto(h)
	}
}

// runLengths hashes a sequence of flags as the lengths of its runs.
type runLengths struct {
	stream hashStream
	valid  bool // of the run that is not yet written
	length uint64
}

func (r *runLengths) add(valid bool, n uint64) {
	if valid != r.valid {
		r.stream.writeUvarint(r.length)
		r.valid, r.length = valid, 0
	}
	r.length += n
}

func (r *runLengths) sum() []byte {
	if r.length > 0 {
		r.stream.writeUvarint(r.length)
		r.length = 0
	}
	return r.stream.sum()
}

// A hashStream gathers small writes before it hashes them.
type hashStream struct {
	hash    hash.Hash
	pending []byte
}

const hashStreamBuffer = 4 << 10

func newHashStream() hashStream { return hashStream{hash: sha256.New()} }

func (s *hashStream) write(p []byte) {
	if len(s.pending)+len(p) > hashStreamBuffer {
		s.flush()
	}
	if len(p) > hashStreamBuffer/4 {
		s.flush()
		s.hash.Write(p)
		return
	}
	s.pending = append(s.pending, p...)
}

func (s *hashStream) writeByte(b byte) {
	if len(s.pending) >= hashStreamBuffer {
		s.flush()
	}
	s.pending = append(s.pending, b)
}

func (s *hashStream) writeUvarint(x uint64) {
	if len(s.pending)+binary.MaxVarintLen64 > hashStreamBuffer {
		s.flush()
	}
	s.pending = binary.AppendUvarint(s.pending, x)
}

func (s *hashStream) flush() {
	s.hash.Write(s.pending)
	s.pending = s.pending[:0]
}

func (s *hashStream) sum() []byte {
	s.flush()
	return s.hash.Sum(nil)
}
