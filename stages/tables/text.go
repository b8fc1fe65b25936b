package tables

import "strings"

// ItemText is the text of an item as PRISM reads it: title, description, brand
// and the first category path joined with " > ", joined with spaces. What is
// empty leaves nothing, so that the text is empty only if all four are.
func ItemText(title, description, brand string, categories []string) string {
	var parts []string
	for _, part := range []string{title, description, brand, strings.Join(categories, " > ")} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}
