package tabular

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestClocks(t *testing.T) {
	for _, c := range []struct {
		format, text string
		want         int64
		err          string
	}{
		{"seconds", "1260759144", 1260759144, ""},
		{"seconds", "1260759144.9", 1260759144, ""},
		{"seconds", "0", 0, ""},
		{"seconds", "-1", 0, "is not a number of time units since 1970"},
		{"seconds", "", 0, "is not a number of time units since 1970"},
		{"seconds", " 1", 0, "is not a number of time units since 1970"},
		{"seconds", "1.2.3", 0, "is not a number of time units since 1970"},
		{"seconds", "99999999999999999999", 0, "is not a number of time units since 1970"},
		{"seconds", "1260759144000", 0, `is time_format "milliseconds"?`},
		{"milliseconds", "1260759144999", 1260759144, ""},
		{"milliseconds", "1260759144", 0, `is time_format "seconds"?`},
		{"milliseconds", "1260759144000000", 0, "is not in milliseconds"},
		{"microseconds", "1260759144999999", 1260759144, ""},
		{"microseconds", "1260759144999", 0, `is time_format "milliseconds"?`},
		{"nanoseconds", "1260759144999999999", 1260759144, ""},
		{"nanoseconds", "1260759144999999", 0, `is time_format "microseconds"?`},
		{"rfc3339", "2009-12-14T02:52:24Z", 1260759144, ""},
		{"rfc3339", "2009-12-14T03:52:24.75+01:00", 1260759144, ""},
		{"rfc3339", "2009-12-14", 0, "is not a time such as"},
		{"YYYY-MM-DD hh:mm:ss", "2009-12-14 02:52:24", 1260759144, ""},
		{"YYYY-MM-DD hh:mm:ss", "2009-12-14 02:52:24.75", 1260759144, ""},
		{"YYYY-MM-DD hh:mm:ss", "2009-12-14", 0, "is not of the form YYYY-MM-DD hh:mm:ss"},
		{"YYYY-MM-DDThh:mm:ssZ", "2009-12-14T02:52:24Z", 1260759144, ""},
		{"DD.MM.YYYY", "14.12.2009", 1260748800, ""},
		{"DD.MM.YYYY", "31.02.2009", 0, "is not of the form DD.MM.YYYY"},
		{"MM/DD/YYYY", "12/31/1969", 0, "is before 1970"},
		{"YYYYMMDDhhmmss", "20091214025224", 1260759144, ""},
	} {
		read, err := newClock(c.format)
		if err != nil {
			t.Errorf("%s: %v", c.format, err)
			continue
		}
		got, err := read(c.text)
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%s of %q: got %d and %v, want %d", c.format, c.text, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s of %q: got %d and %v, want %q", c.format, c.text, got, err, c.err)
		}
	}
}

func TestPatternsThatAreNone(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                    "needs YYYY",
		"sekonds":             `must be "seconds", "milliseconds", "microseconds", "nanoseconds", "rfc3339" or a pattern`,
		"%Y-%m-%d":            "or a pattern of YYYY",
		"2006-01-02":          "or a pattern of YYYY",
		"YYYY-MM-DD hh:mm PM": "or a pattern of YYYY",
		"YYYY-MM":             "needs DD",
		"MM-DD":               "needs YYYY",
		"YYYY-MM-DD DD":       "has DD twice",
		"ss.mm.hh YYYYMMDD":   "a point or comma behind ss",
	} {
		if _, err := newClock(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", pattern, err, want)
		}
	}
}

// Every pattern reads what it writes, whatever stands beside what: time.Parse
// has meanings for many runs of characters.
func TestPatternsReadWhatTheyWrite(t *testing.T) {
	separator := rapid.StringMatching(`[-/.:, TZ]{0,2}`)
	rapid.Check(t, func(rt *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 253402300799).Draw(rt, "time"), 0).UTC()
		values := map[string]string{
			"YYYY": at.Format("2006"), "MM": at.Format("01"), "DD": at.Format("02"),
			"hh": at.Format("15"), "mm": at.Format("04"), "ss": at.Format("05"),
		}
		var pattern, text strings.Builder
		for i, unit := range rapid.Permutation([]string{"YYYY", "MM", "DD", "hh", "mm", "ss"}).Draw(rt, "order") {
			between := separator.Draw(rt, "between")
			if i == 0 {
				between = ""
			}
			if strings.HasSuffix(pattern.String(), "ss") {
				between = strings.TrimLeft(between, ".,") // decimals would follow
			}
			pattern.WriteString(between + unit)
			text.WriteString(between + values[unit])
		}
		read, err := newClock(pattern.String())
		if err != nil {
			rt.Fatal(err)
		}
		got, err := read(text.String())
		if err != nil || got != at.Unix() {
			rt.Fatalf("%s of %s: got %d and %v, want %d", pattern.String(), text.String(), got, err, at.Unix())
		}
	})
}
