package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// thousands is a whole number with commas.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return sign + b.String()
}

// byteSize is a number of bytes in the largest binary unit that it fills.
func byteSize(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 && unit < 5 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGTPE"[unit])
}

// seconds is a duration for people: "0.12 s", "8.1 s", "2m13s", "1h02m".
func seconds(s float64) string {
	switch {
	case s < 1:
		return fmt.Sprintf("%.2f s", s)
	case s < 59.95:
		return fmt.Sprintf("%.1f s", s)
	case s < 3599.5:
		whole := int(math.Round(s))
		return fmt.Sprintf("%dm%02ds", whole/60, whole%60)
	}
	minutes := int(math.Round(s / 60))
	return fmt.Sprintf("%dh%02dm", minutes/60, minutes%60)
}

// amount is a quantity with its unit: bytes as a size, anything else counted.
func amount(n int64, unit string) string {
	if unit == "bytes" {
		return byteSize(n)
	}
	return strings.TrimSpace(thousands(n) + " " + unit)
}

// rate is an amount per second.
func rate(perSecond float64, unit string) string {
	switch {
	case unit == "bytes":
		return byteSize(int64(perSecond)) + "/s"
	case perSecond >= 10:
		return fmt.Sprintf("%s %s/s", thousands(int64(math.Round(perSecond))), unit)
	}
	return fmt.Sprintf("%.2g %s/s", perSecond, unit)
}

// count is a number of things: "1 stage", "2 stages".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(int64(n)) + " " + thing + "s"
}

// number is a measured value in few digits.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return thousands(int64(v))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// instant is a point in time in the reader's zone.
func instant(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
