package pipelines

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Point is one choice of parameters, as text in the order in which they were
// given.
type Point []Choice

// A Choice is a value for a parameter.
type Choice struct{ Param, Text string }

// String is the point as people write it: "backbone=sasrec seed=1".
func (p Point) String() string {
	parts := make([]string, len(p))
	for i, c := range p {
		parts[i] = c.Param + "=" + c.Text
	}
	return strings.Join(parts, " ")
}

// An Axis is a parameter and the values that it takes.
type Axis struct {
	Param string
	Texts []string
}

// maxPoints only catches mistakes.
const maxPoints = 10_000

// ParseAxis reads "backbone=sasrec,stosa" or "seed=1..5" or "size=8..64:8": values
// with commas between them, where FROM..TO stands for the integers from one to
// the other, both included, and :STEP for every so many of them. A comma within
// brackets or double quotes is part of a value; quotes around a whole value are
// taken off, and nothing in them is a range.
func ParseAxis(text string) (Axis, error) {
	name, values, found := strings.Cut(text, "=")
	if !found || name == "" {
		return Axis{}, fmt.Errorf("%q: write key=value,value or key=from..to", clip(text))
	}
	axis := Axis{Param: name}
	for _, value := range splitValues(values) {
		texts, err := expandRange(value)
		if err != nil {
			return Axis{}, fmt.Errorf("%s: %w", clip(name), err)
		}
		axis.Texts = append(axis.Texts, texts...)
		if len(axis.Texts) > maxPoints {
			return Axis{}, fmt.Errorf("%s: more than %d values", clip(name), maxPoints)
		}
	}
	return axis, nil
}

// splitValues cuts at the commas that stand in no brackets and no quotes.
func splitValues(text string) []string {
	var values []string
	depth, quoted, begin := 0, false, 0
	for i, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == ',' && depth == 0:
			values = append(values, text[begin:i])
			begin = i + 1
		}
	}
	return append(values, text[begin:])
}

var rangePattern = regexp.MustCompile(`^(-?[0-9]+)\.\.(-?[0-9]+)(?::([0-9]+))?$`)

func expandRange(value string) ([]string, error) {
	if len(value) > 1 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
		return []string{value[1 : len(value)-1]}, nil
	}
	parts := rangePattern.FindStringSubmatch(value)
	if parts == nil {
		return []string{value}, nil
	}
	from, err1 := strconv.ParseInt(parts[1], 10, 64)
	to, err2 := strconv.ParseInt(parts[2], 10, 64)
	step, err3 := int64(1), error(nil)
	if parts[3] != "" {
		step, err3 = strconv.ParseInt(parts[3], 10, 64)
	}
	switch err := errors.Join(err1, err2, err3); {
	case err != nil:
		return nil, fmt.Errorf("the range %s: a number is too large", clip(value))
	case step < 1:
		return nil, fmt.Errorf("the range %s: the step must be at least 1", clip(value))
	case to < from:
		return nil, fmt.Errorf("the range %s is empty: write the smaller number first", clip(value))
	case uint64(to-from)/uint64(step) >= maxPoints: // also where the difference overflows
		return nil, fmt.Errorf("the range %s has more than %d values", clip(value), maxPoints)
	}
	var texts []string
	for n := range (to-from)/step + 1 {
		texts = append(texts, strconv.FormatInt(from+n*step, 10))
	}
	return texts, nil
}

// ReadPoints reads listed points: CSV whose first line names parameters and whose
// other lines are a point each. name is the file's, for messages.
func ReadPoints(r io.Reader, name string) ([]Point, error) {
	reader := csv.NewReader(r)
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty: its first line must name parameters", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading points from %s: %w", name, err)
	}
	header = slices.Clone(header)
	var points []Point
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading points from %s: %w", name, err)
		}
		point := make(Point, len(header))
		for i, text := range record {
			point[i] = Choice{strings.TrimSpace(header[i]), strings.TrimSpace(text)}
		}
		if points = append(points, point); len(points) > maxPoints {
			return nil, fmt.Errorf("%s has more than %d points", name, maxPoints)
		}
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("%s names parameters and lists no point", name)
	}
	return points, nil
}

// Cross is every point with every choice of the axes' values, the last axis
// changing fastest. Without points it is the grid of the axes.
func Cross(points []Point, axes []Axis) ([]Point, error) {
	if len(points) == 0 {
		points = []Point{{}}
	}
	given := map[string]bool{}
	for _, choice := range points[0] {
		if given[choice.Param] {
			return nil, fmt.Errorf("parameter %s is given twice", clip(choice.Param))
		}
		given[choice.Param] = true
	}
	for _, axis := range axes {
		if given[axis.Param] {
			return nil, fmt.Errorf("parameter %s is given twice", clip(axis.Param))
		}
		given[axis.Param] = true
		if len(points)*len(axis.Texts) > maxPoints {
			return nil, fmt.Errorf("more than %d points", maxPoints)
		}
		var crossed []Point
		for _, point := range points {
			for _, text := range axis.Texts {
				crossed = append(crossed, append(slices.Clone(point), Choice{axis.Param, text}))
			}
		}
		points = crossed
	}
	return points, nil
}

// Draw is n of the points, each as likely as the others and none twice, in their
// order; all of them where n is as many or more. The same seed draws the same.
func Draw(points []Point, n int, seed uint64) []Point {
	if n >= len(points) {
		return points
	}
	chosen := rand.New(rand.NewPCG(seed, 0)).Perm(len(points))[:n]
	slices.Sort(chosen)
	drawn := make([]Point, n)
	for i, at := range chosen {
		drawn[i] = points[at]
	}
	return drawn
}

// LoadPoints loads a pipeline once for each point, whose choices go over
// opts.Params. The error is an *Invalid with what is wrong at any of them, each
// problem once. Points that come to the same values are one.
func LoadPoints(path string, opts Options, points []Point) ([]Point, []*Pipeline, error) {
	var loaded []*Pipeline
	var distinct []Point
	invalid := &Invalid{Path: path}
	seen := map[string]bool{}
	for _, point := range points {
		at := opts
		at.Params = map[string]string{}
		for name, text := range opts.Params {
			at.Params[name] = text
		}
		for _, choice := range point {
			at.Params[choice.Param] = choice.Text
		}
		pipeline, err := Load(path, at)
		var wrong *Invalid
		switch {
		case errors.As(err, &wrong):
			invalid.Diagnostics = append(invalid.Diagnostics, wrong.Diagnostics...)
			continue
		case err != nil:
			return nil, nil, err
		}
		if values := fmt.Sprintf("%q", parameterTexts(pipeline)); !seen[values] {
			seen[values] = true
			distinct, loaded = append(distinct, point), append(loaded, pipeline)
		}
	}
	if len(invalid.Diagnostics) > 0 {
		invalid.Diagnostics = sortDiagnostics(invalid.Diagnostics, filesOf(invalid.Diagnostics))
		return nil, nil, invalid
	}
	return distinct, loaded, nil
}

// filesOf are the files that diagnostics are about, in the order of the first of
// each.
func filesOf(list []Diagnostic) []string {
	var files []string
	for _, d := range list {
		if !slices.Contains(files, d.File) {
			files = append(files, d.File)
		}
	}
	return files
}

func parameterTexts(p *Pipeline) []string {
	var texts []string
	for _, param := range p.Params {
		texts = append(texts, fmt.Sprintf("%s=%#v", param.Name, param.Value))
	}
	return texts
}
