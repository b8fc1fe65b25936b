package amazon

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
)

var pricePattern = regexp.MustCompile(`^(?:US ?)?\$? ?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]+)?$`)

// readPrice is a price in dollars, nil where there is none: a number, or a
// text such as "$1,299.00". A range of prices is none, nor is what the crawler
// took for one in 2018, such as a style sheet. unread says that there was
// something.
func readPrice(v any) (price *float64, unread bool) {
	var digits string
	switch v := v.(type) {
	case nil:
		return nil, false
	case pyliteral.Number:
		digits = string(v)
	case string:
		text := plainText(v)
		if text == "" {
			return nil, v != ""
		}
		m := pricePattern.FindStringSubmatch(text)
		if m == nil {
			return nil, true
		}
		digits = strings.ReplaceAll(m[1], ",", "") + m[2]
	default:
		return nil, true
	}
	x, err := strconv.ParseFloat(digits, 64)
	if err != nil || x < 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return nil, true
	}
	return &x, false
}
