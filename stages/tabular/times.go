package tabular

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A clock reads times as seconds since 1970.
type clock func(text string) (int64, error)

// latestSeconds is in the year 5138. As milliseconds the number is in 1973, so
// that it tells the two units apart.
const latestSeconds = 100_000_000_000

// newClock makes the clock of a time_format: a named one, or a pattern of YYYY,
// MM, DD, hh, mm and ss.
func newClock(format string) (clock, error) {
	switch format {
	case "seconds":
		return seconds, nil
	case "milliseconds":
		return parts("milliseconds", "seconds", 1e3), nil
	case "microseconds":
		return parts("microseconds", "milliseconds", 1e6), nil
	case "nanoseconds":
		return parts("nanoseconds", "microseconds", 1e9), nil
	case "rfc3339":
		return calendar(time.RFC3339, "a time such as 2014-07-23T12:30:00Z"), nil
	}
	layout, err := goLayout(format)
	if err != nil {
		return nil, err
	}
	return calendar(layout, "of the form "+format), nil
}

func seconds(text string) (int64, error) {
	n, err := whole(text)
	if err == nil && n >= latestSeconds {
		return 0, fmt.Errorf("%d is not in seconds: is time_format \"milliseconds\"?", n)
	}
	return n, err
}

// parts is the clock of a unit of which a second has so many. The next coarser
// unit is one that numbers that are too small may be in.
func parts(unit, coarser string, perSecond int64) clock {
	return func(text string) (int64, error) {
		n, err := whole(text)
		switch {
		case err == nil && n/(perSecond/1000) < latestSeconds:
			return 0, fmt.Errorf("%d is not in %s: is time_format %q?", n, unit, coarser)
		case err == nil && n/perSecond >= latestSeconds:
			return 0, fmt.Errorf("%d is not in %s", n, unit)
		}
		return n / perSecond, err
	}
}

// whole is a number that is not negative, without its decimals, which programs
// write behind whole numbers that went through a floating-point column. Powers
// of ten have lost digits there, and are refused.
func whole(text string) (int64, error) {
	digits, decimals, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || strings.Trim(decimals, "0123456789") != "" {
		return 0, fmt.Errorf("%.40q is not a number of time units since 1970%s", text, otherFormat(text))
	}
	return n, nil
}

// usual are time formats that are suggested for a time that is no number.
var usual = []string{"rfc3339", "YYYY-MM-DD hh:mm:ss", "YYYY-MM-DD", "YYYY-MM-DD hh:mm", "YYYY/MM/DD hh:mm:ss", "YYYY/MM/DD", "DD.MM.YYYY hh:mm:ss", "DD.MM.YYYY hh:mm", "DD.MM.YYYY"}

// otherFormat says which time_format a text may be of.
func otherFormat(text string) string {
	for _, format := range usual {
		read, err := newClock(format)
		if err != nil {
			return ""
		}
		if _, err := read(text); err == nil {
			return fmt.Sprintf(": is time_format %q?", format)
		}
	}
	return ""
}

// calendar is the clock of a layout of time.Parse, which want describes.
func calendar(layout, want string) clock {
	return func(text string) (int64, error) {
		at, err := time.Parse(layout, text)
		if err != nil {
			return 0, fmt.Errorf("%.40q is not %s", text, want)
		}
		if at.Unix() < 0 {
			return 0, fmt.Errorf("%.40q is before 1970", text)
		}
		return at.Unix(), nil
	}
}

// units are what a pattern is made of, as time.Parse spells them.
var units = []struct{ name, layout string }{
	{"YYYY", "2006"}, {"MM", "01"}, {"DD", "02"}, {"hh", "15"}, {"mm", "04"}, {"ss", "05"},
}

// goLayout is a pattern as time.Parse has it. What may stand between the units
// is so little because time.Parse has a meaning for most letters and digits.
func goLayout(pattern string) (string, error) {
	if strings.Contains(pattern, "ss.") || strings.Contains(pattern, "ss,") {
		return "", errors.New("cannot have a point or comma behind ss: what follows is taken for decimals, and read without being named")
	}
	rest := pattern
	for _, u := range units {
		if strings.Count(pattern, u.name) > 1 {
			return "", fmt.Errorf("has %s twice", u.name)
		}
		rest = strings.Replace(rest, u.name, "", 1)
		pattern = strings.Replace(pattern, u.name, u.layout, 1)
	}
	if strings.Trim(rest, "-/.:, TZ") != "" {
		return "", errors.New(`must be "seconds", "milliseconds", "microseconds", "nanoseconds", "rfc3339" or a pattern of YYYY, MM, DD, hh, mm and ss, such as "YYYY-MM-DD hh:mm:ss", with nothing else but spaces and -/.:,TZ`)
	}
	for _, u := range units[:3] {
		if !strings.Contains(pattern, u.layout) {
			return "", errors.New("needs " + u.name)
		}
	}
	return pattern, nil
}
