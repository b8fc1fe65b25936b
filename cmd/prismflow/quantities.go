package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prismflow/prismflow/pipelines"
)

// parseSize reads an amount of bytes as pipeline files write it, or a bare number
// of them; empty is 0.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	amount := text
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		amount += "B"
	}
	if bytes, ok := pipelines.ParseSize(amount); ok {
		return bytes, nil
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
