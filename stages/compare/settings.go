package compare

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// A setting is one thing that a result depends on: a parameter, the files of a
// source, the kind or its code version.
type setting struct {
	role  string // see lineage
	param string
}

// seedParam is the parameter in which runs may differ that should say the same.
const seedParam = "seed"

// base is the parameter's own name, without the table that it stands in.
func (s setting) base() string { return s.param[strings.LastIndex(s.param, ".")+1:] }

// settings are what a model's numbers depend on, as text.
type settings struct {
	values map[setting]string
	stages map[string]string // role → the stage's name, for people
}

// Names of settings that are no parameters.
const (
	kindSetting    = "kind"
	versionSetting = "code_version"
	contentSetting = "content"
)

// settings of an evaluation; of a baseline, without those of the trained model,
// on which it does not depend.
func (l lineage) settings(baseline bool) settings {
	s := settings{values: map[setting]string{}, stages: map[string]string{}}
	concerned := func(role string) bool {
		return !baseline || role != modelInput && !strings.HasPrefix(role, modelInput+".")
	}
	for role, result := range l.results {
		if concerned(role) {
			s.stages[role] = result.Stage
			s.add(role, result.Manifest.Request)
		}
	}
	for role, digest := range l.missing {
		if concerned(role) {
			s.values[setting{role, contentSetting}] = digest.Short()
		}
	}
	return s
}

func (s settings) add(role string, request artifacts.Request) {
	s.values[setting{role, kindSetting}] = request.Kind
	s.values[setting{role, versionSetting}] = strconv.Itoa(request.Version)
	s.flatten(role, "", request.Params)
	for source, files := range request.Files {
		var digests []string
		for _, file := range files {
			digests = append(digests, file.Digest.Short())
		}
		s.values[setting{role, source}] = strings.Join(digests, ",")
	}
}

func (s settings) flatten(role, above string, params map[string]any) {
	for name, value := range params {
		if inner, ok := value.(map[string]any); ok {
			s.flatten(role, above+name+".", inner)
			continue
		}
		s.values[setting{role, above + name}] = valueText(value)
	}
}

// valueText is a parameter's value for people.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = valueText(item)
		}
		return strings.Join(parts, ",")
	case map[string]any:
		text, err := json.Marshal(v)
		if err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v)
}

// seeds are the values of all parameters called seed, by role.
func (s settings) seeds() string {
	var roles, values []string
	for at := range s.values {
		if at.base() == seedParam {
			roles = append(roles, at.role+"\x00"+at.param)
		}
	}
	slices.Sort(roles)
	for _, role := range roles {
		at, param, _ := strings.Cut(role, "\x00")
		if value := s.values[setting{at, param}]; !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return strings.Join(values, "/")
}

// identity tells settings apart that differ in more than seeds.
func (s settings) identity() string {
	var lines []string
	for at, value := range s.values {
		if at.base() != seedParam {
			lines = append(lines, fmt.Sprintf("%q %q %q", at.role, at.param, value))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// differing are the settings in which some of all differ, seeds left out, in the
// order of roles and names. Where some have a stage that others do without, as a
// model without features has none of them, that alone is said, and not each of its
// settings and of those before it.
func differing(all []settings) []setting {
	roles := make([]map[string]bool, len(all))
	seen := map[setting]map[string]bool{}
	for i, s := range all {
		roles[i] = map[string]bool{}
		for at, value := range s.values {
			roles[i][at.role] = true
			if seen[at] == nil {
				seen[at] = map[string]bool{}
			}
			seen[at][value] = true
		}
	}
	var found []setting
	for at, values := range seen {
		differs := len(values) > 1
		for i, s := range all {
			_, has := s.values[at]
			switch {
			case has:
			case roles[i][at.role]: // the stage, without the parameter
				differs = true
			case at.param == kindSetting && roles[i][above(at.role)]: // without the stage
				differs = true
			}
		}
		if differs && at.base() != seedParam {
			found = append(found, at)
		}
	}
	slices.SortFunc(found, func(a, b setting) int {
		return strings.Compare(a.role+"\x00"+a.param, b.role+"\x00"+b.param)
	})
	return found
}

// above is the role of the stage that reads what the one with this role makes.
func above(role string) string {
	return role[:max(0, strings.LastIndex(role, "."))]
}

// names are what people call settings: by the parameter alone where that says
// which one it is.
func names(of []setting, all []settings) map[setting]string {
	uses := map[string]int{}
	for _, at := range of {
		uses[at.base()]++
	}
	named := map[setting]string{}
	for _, at := range of {
		named[at] = at.base()
		special := at.param == kindSetting || at.param == versionSetting || at.param == contentSetting
		if special || uses[at.base()] > 1 {
			named[at] = stageName(at.role, all) + "." + at.param
		}
	}
	return named
}

// stageName is what the stage with a role is called, if all call it the same, or
// else the role.
func stageName(role string, all []settings) string {
	var called []string
	for _, s := range all {
		if stage, known := s.stages[role]; known && !slices.Contains(called, stage) {
			called = append(called, stage)
		}
	}
	switch {
	case len(called) == 1:
		return called[0]
	case role == "":
		return "evaluation"
	}
	return role
}
