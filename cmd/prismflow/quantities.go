package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are powers of 1024 with an i, of 1000 without.
var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// parseSize reads an amount of bytes; empty is 0.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		amount, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if bytes := amount * unit.bytes; err == nil && bytes >= 1 && bytes < 1<<62 {
			return int64(bytes), nil
		}
		break
	}
	return 0, fmt.Errorf("must be a size such as 20GiB or 500MB, not %q", text)
}

// parseAge reads a duration that may be in days; empty is 0.
func parseAge(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if digits, inDays := strings.CutSuffix(text, "d"); inDays {
		days, err := strconv.ParseFloat(digits, 64)
		if err == nil && days > 0 && days < 100_000 {
			return time.Duration(days * 24 * float64(time.Hour)), nil
		}
	} else if age, err := time.ParseDuration(text); err == nil && age > 0 {
		return age, nil
	}
	return 0, fmt.Errorf("must be a time such as 30d or 12h, not %q", text)
}

// parseShare reads a percentage, with its sign or without, as a part of 1; empty
// is 0.
func parseShare(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
	if err != nil || !(percent > 0 && percent <= 100) {
		return 0, fmt.Errorf("must be a percentage such as 10%%, more than 0 and at most 100, not %q", text)
	}
	return percent / 100, nil
}
