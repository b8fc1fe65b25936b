package stages

import "fmt"

// maxSuggested bounds what is compared, in bytes: the time goes with the product
// of the lengths, and nobody mistypes a name as long as this.
const maxSuggested = 100

// Suggest is " (did you mean x?)" for the known name nearest to a mistyped one,
// or nothing when none is near.
func Suggest(name string, known []string) string {
	if len(name) > maxSuggested {
		return ""
	}
	best, distance := "", 1+len(name)/3
	for _, candidate := range known {
		if len(candidate) > maxSuggested {
			continue
		}
		if d := editDistance(name, candidate); d <= distance && (best == "" || d < distance) {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// editDistance is the number of bytes to insert, delete, replace, or exchange with
// the next one, that turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
