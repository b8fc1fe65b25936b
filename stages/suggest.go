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

// editDistance is the Levenshtein distance between a and b in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
