package pipelines

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// byteUnits are the units that a size may have: powers of 1024 with an
// i, of 1000 without.
var byteUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// parseBytes reads a memory size such as "4GiB", "1.5 GB" or a number of bytes.
func parseBytes(v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		if v > 0 {
			return v, nil
		}
	case string:
		if n, ok := ParseSize(v); ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("must be an amount of memory such as \"4GiB\" or \"500MB\", not %s", describe(v))
}

// ParseSize reads an amount of bytes with its unit, such as "4GiB", "1.5 GB" or
// "7B". It is at least 1.
func ParseSize(text string) (int64, bool) {
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		bytes := math.Round(x * unit.bytes)
		if err != nil || !(bytes >= 1 && bytes < math.MaxInt64) {
			return 0, false
		}
		return int64(bytes), true
	}
	return 0, false
}

// parseDuration reads a duration such as "90m" or "1h30m".
func parseDuration(v any) (time.Duration, error) {
	if text, ok := v.(string); ok {
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			return d, nil
		}
	}
	return 0, fmt.Errorf("must be a duration such as \"90s\", \"90m\" or \"1h30m\", not %s", describe(v))
}
