package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// ErrFormat is wrapped by every error about bytes that are not a valid file.
var ErrFormat = errors.New("not a valid safetensors file")

const (
	lengthSize    = 8
	maxHeaderSize = 100_000_000 // the format's own limit; real headers are below 1 MB
	metadataName  = "__metadata__"
)

// Info describes one tensor.
type Info struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar
}

// Bytes is the size of the tensor's elements together. It is an error when that is no int64, a dimension is negative or
// the element type is not known.
func (i Info) Bytes() (int64, error) {
	size := uint64(i.DType.Size())
	if size == 0 {
		return 0, fmt.Errorf("tensor %q: element type %q is not supported", i.Name, string(i.DType))
	}
	for _, n := range i.Shape {
		high, low := bits.Mul64(size, uint64(n))
		if n < 0 || high != 0 || low > math.MaxInt64 {
			return 0, fmt.Errorf("tensor %q: shape %v of %s does not fit in 2^63 bytes", i.Name, i.Shape, i.DType)
		}
		size = low
	}
	return int64(size), nil
}

// entry is a tensor and where its bytes are, counted from the end of the header.
type entry struct {
	Info
	begin, end int64
}

// parseHeader reads the JSON header of a file that has dataSize bytes behind it.
func parseHeader(header []byte, dataSize int64) (map[string]string, map[string]entry, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("the header does not begin with {")
	}
	if !utf8.Valid(header) || !json.Valid(header) {
		return nil, nil, errors.New("the header is not valid JSON in UTF-8")
	}
	p := headerParser{json: json.NewDecoder(bytes.NewReader(header)), entries: map[string]entry{}}
	p.json.UseNumber()
	if err := p.object(p.tensor); err != nil {
		return nil, nil, err
	}
	if err := covered(p.entries, dataSize); err != nil {
		return nil, nil, err
	}
	return p.metadata, p.entries, nil
}

// covered checks that the tensors lie side by side and fill the data: without overlap, so that no two share bytes, and
// without a gap, in which a file could carry anything.
func covered(entries map[string]entry, dataSize int64) error {
	inOrder := make([]entry, 0, len(entries))
	for _, e := range entries {
		inOrder = append(inOrder, e)
	}
	slices.SortFunc(inOrder, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.Name, b.Name))
	})
	end := int64(0)
	for _, e := range inOrder {
		if e.begin != end {
			return fmt.Errorf("tensor %q begins at byte %d of the data, but the one before it ends at %d: tensors must not overlap or leave a gap", e.Name, e.begin, end)
		}
		end = e.end
	}
	if end != dataSize {
		return fmt.Errorf("the tensors take %d bytes, but the file has %d after its header: it is cut off or has something behind it", end, dataSize)
	}
	return nil
}

// headerParser walks the header's tokens. json.Unmarshal would accept names that occur twice and keys in any case, so
// that two readers could see two different files.
type headerParser struct {
	json     *json.Decoder
	metadata map[string]string
	entries  map[string]entry
}

// object reads an object and calls member for each of its keys; member must read the value.
func (p *headerParser) object(member func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.json.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("the header has %q twice", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p *headerParser) tensor(name string) error {
	if name == metadataName {
		return p.readMetadata()
	}
	e := entry{Info: Info{Name: name}, begin: -1}
	if err := p.object(func(key string) error { return p.field(&e, key) }); err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	if e.DType == "" || e.Shape == nil || e.begin < 0 {
		return fmt.Errorf("tensor %q: needs dtype, shape and data_offsets", name)
	}
	size, err := e.Bytes()
	if err != nil {
		return err
	}
	if e.end < e.begin || e.end-e.begin != size {
		return fmt.Errorf("tensor %q: data_offsets %d…%d hold %d bytes, but shape %v of %s takes %d", name, e.begin, e.end, e.end-e.begin, e.Shape, e.DType, size)
	}
	p.entries[name] = e
	return nil
}

func (p *headerParser) field(e *entry, key string) error {
	switch key {
	case "dtype":
		text, err := p.text()
		e.DType = DType(text)
		return err
	case "shape":
		numbers, err := p.numbers()
		e.Shape = make([]int, len(numbers))
		for i, n := range numbers {
			e.Shape[i] = int(n)
		}
		return err
	case "data_offsets":
		numbers, err := p.numbers()
		if err == nil && len(numbers) != 2 {
			err = fmt.Errorf("data_offsets has %d numbers, want 2", len(numbers))
		}
		if err == nil {
			e.begin, e.end = numbers[0], numbers[1]
		}
		return err
	}
	return fmt.Errorf("unknown key %q", key)
}

func (p *headerParser) readMetadata() error {
	p.metadata = map[string]string{}
	return p.object(func(key string) error {
		text, err := p.text()
		if err != nil {
			return fmt.Errorf("%s %q: %w", metadataName, key, err)
		}
		p.metadata[key] = text
		return nil
	})
}

func (p *headerParser) delim(want json.Delim) error {
	token, err := p.json.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%v in the header where %v is wanted", token, want)
	}
	return nil
}

func (p *headerParser) text() (string, error) {
	token, err := p.json.Token()
	if err != nil {
		return "", err
	}
	text, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("%v in the header where a text is wanted", token)
	}
	return text, nil
}

// numbers reads an array of whole numbers from 0 to 2⁶³-1.
func (p *headerParser) numbers() ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	var numbers []int64
	for p.json.More() {
		token, err := p.json.Token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v in the header where a number is wanted", token)
		}
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s in the header where a whole number from 0 to 2^63-1 is wanted", number)
		}
		numbers = append(numbers, n)
	}
	return numbers, p.delim(']')
}
