package kinds

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	update    = flag.Bool("update", false, "record the source of the kinds that are new or whose version was raised")
	unaltered = flag.String("unaltered", "", "with -update, also of these `KINDS` (by comma, or all), whose results the change cannot alter")
)

const pinFile = "testdata/versions.txt"

// TestVersions fails when the source of a kind changed and nobody said whether
// its results did.
func TestVersions(t *testing.T) {
	current := currentSources(t)
	pins, err := readPins(pinFile)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		pins = updatePins(pins, current, strings.Split(*unaltered, ","))
		if err := writePins(pinFile, pins); err != nil {
			t.Fatal(err)
		}
	}
	for _, problem := range comparePins(pins, current) {
		t.Error(problem)
	}
}

// comparePins says of every kind that is not as it was pinned what is to be
// decided.
func comparePins(pins, current map[string]kindSource) []string {
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(current)) {
		pin, pinned := pins[name]
		now := current[name]
		switch {
		case !pinned:
			problems = append(problems, fmt.Sprintf("kind %s is new; record its source:\n  go test ./stages/kinds -update", name))
		case now.version < pin.version:
			problems = append(problems, fmt.Sprintf("kind %s has version %d and had %d: a version never goes back, for the results of the old code are still cached under it; raise it to %d",
				name, now.version, pin.version, pin.version+1))
		case now.version > pin.version:
			problems = append(problems, fmt.Sprintf("kind %s has version %d now and had %d; record its source:\n  go test ./stages/kinds -update", name, now.version, pin.version))
		case !maps.Equal(pin.source, now.source):
			problems = append(problems, undecided(name, pin, now))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		if _, ok := current[name]; !ok {
			problems = append(problems, fmt.Sprintf("kind %s is no more; forget it:\n  go test ./stages/kinds -update", name))
		}
	}
	return problems
}

const decision = `the source of kind %[1]s changed, and its version is still %[2]d:
%[3]sWhile the version stays, what the old code computed is taken for what the new code would compute. Decide:
  The change can alter a result (its bytes, its order, a default, what is an error):
    raise the version where the kind is declared, then go test ./stages/kinds -update
  It cannot (a name, a message, the same result sooner):
    go test ./stages/kinds -update -unaltered=%[1]s
`

func undecided(name string, pin, now kindSource) string {
	var changes strings.Builder
	for _, path := range slices.Sorted(maps.Keys(now.source)) {
		switch pin.source[path] {
		case now.source[path]:
		case "":
			fmt.Fprintf(&changes, "    %s is new to it\n", path)
		default:
			fmt.Fprintf(&changes, "    %s changed\n", path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(pin.source)) {
		if now.source[path] == "" {
			fmt.Fprintf(&changes, "    %s is no longer part of it\n", path)
		}
	}
	return fmt.Sprintf(decision, name, now.version, changes.String())
}

// updatePins are the pins with what was decided: kinds that are new, have a
// higher version, or are named.
func updatePins(pins, current map[string]kindSource, unaltered []string) map[string]kindSource {
	updated := map[string]kindSource{}
	for name, now := range current {
		pin, pinned := pins[name]
		named := slices.Contains(unaltered, name) || slices.Contains(unaltered, "all")
		if !pinned || now.version > pin.version || now.version == pin.version && named {
			pin = now
		}
		updated[name] = pin
	}
	return updated
}

const pinHeader = `# What each kind's results depend on, as it was when its version was decided:
# kind and version, then package and hash. README.md says more.
# Written by: go test ./stages/kinds -update
`

func writePins(path string, pins map[string]kindSource) error {
	var b strings.Builder
	b.WriteString(pinHeader)
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		fmt.Fprintf(&b, "%s %d\n", name, pins[name].version)
		for _, path := range slices.Sorted(maps.Keys(pins[name].source)) {
			fmt.Fprintf(&b, "\t%s %s\n", path, pins[name].source[path])
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o666)
}

func readPins(path string) (map[string]kindSource, error) {
	pins := map[string]kindSource{}
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return pins, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	kind := ""
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "\t"), " ")
		if strings.HasPrefix(line, "\t") && ok && kind != "" {
			pins[kind].source[name] = value
			continue
		}
		version, err := strconv.Atoi(value)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: want a kind and its version, or a tab, a package and its hash", path, n)
		}
		kind = name
		pins[kind] = kindSource{version, source{}}
	}
	return pins, lines.Err()
}

func TestComparePins(t *testing.T) {
	old := source{"stages/x": "1", "model/y": "2"}
	changed := source{"stages/x": "1", "model/y": "3"}
	for name, tt := range map[string]struct {
		pins, current map[string]kindSource
		want          string // in the one problem; empty for none
		raised        string // in the problem that stays after -update
		named         string // … after -update -unaltered=x
	}{
		"as pinned":       {map[string]kindSource{"x": {1, old}}, map[string]kindSource{"x": {1, old}}, "", "", ""},
		"new":             {nil, map[string]kindSource{"x": {1, old}}, "is new", "", ""},
		"gone":            {map[string]kindSource{"x": {1, old}}, nil, "is no more", "", ""},
		"version raised":  {map[string]kindSource{"x": {1, old}}, map[string]kindSource{"x": {2, changed}}, "has version 2 now", "", ""},
		"version lowered": {map[string]kindSource{"x": {2, old}}, map[string]kindSource{"x": {1, changed}}, "never goes back", "never goes back", "never goes back"},
		"undecided":       {map[string]kindSource{"x": {1, old}}, map[string]kindSource{"x": {1, changed}}, "model/y changed", "model/y changed", ""},
		"more packages":   {map[string]kindSource{"x": {1, source{"stages/x": "1"}}}, map[string]kindSource{"x": {1, old}}, "model/y is new to it", "model/y is new to it", ""},
		"fewer packages":  {map[string]kindSource{"x": {1, old}}, map[string]kindSource{"x": {1, source{"stages/x": "1"}}}, "model/y is no longer", "model/y is no longer", ""},
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, "", comparePins(tt.pins, tt.current), tt.want)
			wantProblem(t, "after -update: ", comparePins(updatePins(tt.pins, tt.current, nil), tt.current), tt.raised)
			wantProblem(t, "after -unaltered: ", comparePins(updatePins(tt.pins, tt.current, []string{"x"}), tt.current), tt.named)
		})
	}
}

func wantProblem(t *testing.T, when string, problems []string, want string) {
	t.Helper()
	if want == "" && len(problems) > 0 || want != "" && (len(problems) != 1 || !strings.Contains(problems[0], want)) {
		t.Errorf("%sproblems %q, want %q", when, problems, want)
	}
}

func TestPinsSurviveTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "versions.txt")
	pins := map[string]kindSource{"a.b": {3, source{"stages/a": "0f", "model/c": "1e"}}, "c": {1, source{}}}
	if err := writePins(path, pins); err != nil {
		t.Fatal(err)
	}
	read, err := readPins(path)
	if err != nil {
		t.Fatal(err)
	}
	if problems := comparePins(read, pins); len(problems) > 0 {
		t.Errorf("read back: %v", problems)
	}
}
