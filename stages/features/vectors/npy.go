package vectors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/model/safetensors"
	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
)

const (
	npyMagic     = "\x93NUMPY"
	maxNPYHeader = 64 << 10 // NumPy itself reads 10,000 characters
)

// openNPY opens a file that numpy.save wrote
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html):
// magic, version, the length of a header, and the header, a Python dict of
// descr, fortran_order and shape. It is parsed as a literal and not evaluated.
func openNPY(file *os.File, size int64) (*File, error) {
	text, begin, err := npyHeader(file)
	if err != nil {
		return nil, err
	}
	m, err := parseNPY(text)
	if err != nil {
		return nil, err
	}
	have := size - begin
	row := int64(m.width) * int64(m.dtype.Size()) // both are small
	if have%row != 0 || have/row != m.rows {
		return nil, fmt.Errorf("the header says %d rows of %d bytes, and the file has %d bytes behind it: it is cut off or has something behind it", m.rows, row, have)
	}
	m.Closer, m.data = file, io.NewSectionReader(file, begin, have)
	return m.file()
}

// npyHeader is the header's text, and where the data begin.
func npyHeader(file io.ReaderAt) (text []byte, begin int64, err error) {
	in := io.NewSectionReader(file, 0, maxNPYHeader+12)
	var fixed struct {
		Magic        [6]byte
		Major, Minor byte
	}
	if err := binary.Read(in, binary.LittleEndian, &fixed); err != nil {
		return nil, 0, fmt.Errorf("reading the .npy header: %w", err)
	}
	var length uint32
	switch fixed.Major {
	case 1:
		var short uint16
		err = binary.Read(in, binary.LittleEndian, &short)
		length = uint32(short)
	case 2:
		err = binary.Read(in, binary.LittleEndian, &length)
	default:
		return nil, 0, fmt.Errorf(".npy of version %d.%d: versions 1 and 2 are read", fixed.Major, fixed.Minor)
	}
	if err == nil && length > maxNPYHeader {
		return nil, 0, fmt.Errorf("an .npy header of %d bytes, and at most %d are read", length, maxNPYHeader)
	}
	text = make([]byte, length)
	if err == nil {
		_, err = io.ReadFull(in, text)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the .npy header: %w", err)
	}
	begin, err = in.Seek(0, io.SeekCurrent)
	return text, begin, err
}

// parseNPY reads a header's text. The matrix lacks its data.
func parseNPY(text []byte) (*matrix, error) {
	value, err := pyliteral.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the .npy header is no Python literal: %w", err)
	}
	header, ok := value.(pyliteral.Dict)
	if !ok {
		return nil, errors.New("the .npy header is no dict")
	}
	m := &matrix{}
	if m.dtype, err = npyType(header.Get("descr")); err != nil {
		return nil, err
	}
	switch header.Get("fortran_order") {
	case false:
	case true:
		return nil, errors.New("the array is stored by columns (Fortran order): save numpy.ascontiguousarray(a)")
	default:
		return nil, errors.New("the .npy header has no fortran_order")
	}
	m.rows, m.width, err = npyShape(header.Get("shape"))
	return m, err
}

// npyType is the element type of a descr such as "<f4".
func npyType(descr any) (safetensors.DType, error) {
	text, ok := descr.(string)
	if !ok {
		return "", errors.New("an array of records: save one array of floats")
	}
	switch text {
	case "<f2":
		return safetensors.F16, nil
	case "<f4":
		return safetensors.F32, nil
	case "<f8":
		return safetensors.F64, nil
	case "|O", "O":
		return "", errors.New("an array of pickled Python objects, which are never read: save numpy.stack(a).astype(\"<f4\")")
	}
	if strings.HasPrefix(text, ">f") {
		return "", fmt.Errorf("the array is big-endian (%s): save a.astype(\"<f4\")", text)
	}
	return "", fmt.Errorf("an array of type %.20q, not of floats of 2, 4 or 8 bytes: save a.astype(\"<f4\")", text)
}

// npyShape reads a tuple of two numbers.
func npyShape(shape any) (rows int64, width int, err error) {
	axes, ok := shape.([]any)
	if !ok {
		return 0, 0, errors.New("the .npy header has no shape")
	}
	if len(axes) != 2 {
		return 0, 0, fmt.Errorf("an array of %d axes: a matrix of one row an item has two", len(axes))
	}
	var sizes [2]int64
	for i, axis := range axes {
		text, _ := axis.(pyliteral.Number)
		if sizes[i], err = strconv.ParseInt(string(text), 10, 64); err != nil || sizes[i] < 0 {
			return 0, 0, fmt.Errorf("the .npy header has an axis that is no number from 0")
		}
	}
	if sizes[1] < 1 || sizes[1] > MaxWidth {
		return 0, 0, fmt.Errorf("vectors of %d components, and 1 to %d are allowed", sizes[1], MaxWidth)
	}
	return sizes[0], int(sizes[1]), nil
}
