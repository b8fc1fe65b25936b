package backbone

import (
	"fmt"
	"slices"
)

// Rows says where each sequence of a batch lies in a rectangle of rows. The
// places of one sequence are contiguous and within one row, oldest first.
type Rows struct {
	Count  int   // rows
	Width  int   // places in a row
	Start  []int // of each sequence: the flat place (row·Width + column) of its oldest item
	Length []int // of each sequence
}

// Pack lays sequences out one behind the other, several in a row, so that
// almost no place is empty: real users have nine items where the window has
// fifty. Sequences are neither reordered nor cut; a row is as wide as the
// longest. It is best-fit decreasing: the longest first, each into the fullest
// row that still has room.
func Pack(lengths []int) Rows { return PackIn(lengths, longest(lengths)) }

// PackIn is Pack into rows of a given width, which is at least the longest
// sequence's.
func PackIn(lengths []int, width int) Rows {
	rows := Rows{Width: width, Start: make([]int, len(lengths)), Length: slices.Clone(lengths)}
	order := make([]int, len(lengths))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return lengths[b] - lengths[a] })
	withRoom := make([][]int, width+1) // withRoom[k]: rows whose last k places are free
	for _, i := range order {
		room, row := rows.fit(withRoom, lengths[i])
		rows.Start[i] = row*width + width - room
		withRoom[room-lengths[i]] = append(withRoom[room-lengths[i]], row)
	}
	return rows
}

// fit takes the fullest row with room for length places out of the lists, or
// adds a row.
func (r *Rows) fit(withRoom [][]int, length int) (room, row int) {
	for room := length; room <= r.Width; room++ {
		if n := len(withRoom[room]); n > 0 {
			row := withRoom[room][n-1]
			withRoom[room] = withRoom[room][:n-1]
			return room, row
		}
	}
	r.Count++
	return r.Width, r.Count - 1
}

// Pad gives every sequence a row of its own, right-aligned behind padding: the
// layout of the published code, and what Pack is measured against.
func Pad(lengths []int, width int) Rows {
	rows := Rows{Count: len(lengths), Width: width, Start: make([]int, len(lengths)), Length: slices.Clone(lengths)}
	for i, n := range lengths {
		rows.Start[i] = (i+1)*width - n
	}
	return rows
}

func longest(lengths []int) int {
	width := 1
	for _, n := range lengths {
		width = max(width, n)
	}
	return width
}

// Places is the number of places, empty ones included.
func (r Rows) Places() int { return r.Count * r.Width }

// Tokens is the flat place of every item, sequence by sequence, oldest first.
func (r Rows) Tokens() []int64 {
	tokens := make([]int64, 0, r.Places())
	for i, start := range r.Start {
		for j := range r.Length[i] {
			tokens = append(tokens, int64(start+j))
		}
	}
	return tokens
}

// Newest is the flat place of each sequence's newest item.
func (r Rows) Newest() []int64 {
	places := make([]int64, len(r.Start))
	for i, start := range r.Start {
		places[i] = int64(start + r.Length[i] - 1)
	}
	return places
}

// place writes values to the places of the sequences; the others keep what
// they have.
func (r Rows) place(dst []int64, value func(sequence, index int) int64) {
	for i, start := range r.Start {
		for j := range r.Length[i] {
			dst[start+j] = value(i, j)
		}
	}
}

// items puts the sequences in their places, with 0 elsewhere.
func (r Rows) items(sequences [][]int32) []int64 {
	flat := make([]int64, r.Places())
	r.place(flat, func(i, j int) int64 { return int64(sequences[i][j]) })
	return flat
}

// segments numbers the places by their sequence, from 1, with 0 elsewhere.
func (r Rows) segments() []int64 {
	flat := make([]int64, r.Places())
	r.place(flat, func(i, _ int) int64 { return int64(i + 1) })
	return flat
}

// positions are right-aligned: a newest item has the last position, maxLength-1,
// whatever the layout. Empty places have the position of their column in a row
// that ends at the last position, as in a left-padded window.
func (r Rows) positions(maxLength int) []int64 {
	flat := make([]int64, r.Places())
	for i := range flat {
		flat[i] = int64(max(0, maxLength-r.Width+i%r.Width))
	}
	r.place(flat, func(i, j int) int64 { return int64(maxLength - r.Length[i] + j) })
	return flat
}

func (r Rows) validate(sequences [][]int32, maxLength int) error {
	if len(sequences) != len(r.Length) || r.Count == 0 {
		return fmt.Errorf("laying out a batch: %d sequences for a layout of %d in %d rows", len(sequences), len(r.Length), r.Count)
	}
	for i, sequence := range sequences {
		if n := len(sequence); n == 0 || n > maxLength || n > r.Width || n != r.Length[i] {
			return fmt.Errorf("laying out a batch: sequence %d has %d items: want %d, and 1…%d", i, n, r.Length[i], min(maxLength, r.Width))
		}
	}
	return nil
}
