package pipelines

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// A checker turns a document into a pipeline and collects what is wrong.
type checker struct {
	opts     Options
	place    // of the pipeline file
	workDir  string
	doc      *merged
	registry stages.Registry // with the kinds that the file defines

	isSettings bool // the file is the user's own settings, not a pipeline

	wrongKinds map[string]bool // those that it defines wrongly, so that nothing is said of their stages

	params      map[string]*parameter
	order       []*parameter // as they stand in the file
	diagnostics []Diagnostic
	suggested   int
}

func (c *checker) add(d Diagnostic) { c.diagnostics = append(c.diagnostics, d) }

func (c *checker) errorAt(at int, format string, args ...any) {
	c.add(c.doc.files.diagnostic(at, Error, fmt.Sprintf(format, args...)))
}

func (c *checker) warnAt(at int, format string, args ...any) {
	c.add(c.doc.files.diagnostic(at, Warning, fmt.Sprintf(format, args...)))
}

// maxSuggestions bounds the time that a thoroughly wrong file takes: each
// suggestion is a comparison with every known name.
const maxSuggestions = 100

// suggest is stages.Suggest within bounds.
func (c *checker) suggest(name string, known []string) string {
	if c.suggested == maxSuggestions || len(name) > maxNameShown {
		return ""
	}
	c.suggested++
	return stages.Suggest(name, known)
}

// topLevel are the keys that a pipeline file may have.
var topLevel = []string{"name", "description", "params", "cache", "kinds", "stages", "include"}

func (c *checker) check() (*Pipeline, error) {
	p := &Pipeline{Name: nameOf(c.path), Path: c.path, Dir: c.dir}
	c.readParams()
	c.checkOverrides()
	for _, param := range c.order {
		c.resolve(param)
		p.Params = append(p.Params, param.Parameter)
	}
	c.readKinds()
	for _, n := range c.doc.root.order {
		c.topLevelKey(p, n)
	}
	if c.doc.root.child("stages") == nil {
		c.errorAt(0, "a pipeline needs stages: add a table [stages.NAME] with a kind")
	}
	for _, param := range c.order {
		own := param.File == c.file || param.Overridden // what an included file is not used for is not this one's fault
		if !param.used && own {
			c.warnAt(param.node.key, "parameter %s is used nowhere", param.Name)
		}
	}
	return c.result(p)
}

func (c *checker) result(p *Pipeline) (*Pipeline, error) {
	if hasError(c.diagnostics) {
		return nil, c.invalid()
	}
	p.Warnings = sortDiagnostics(c.diagnostics, c.doc.files.names())
	return p, nil
}

func (c *checker) invalid() *Invalid {
	return &Invalid{Path: c.file, Diagnostics: sortDiagnostics(c.diagnostics, c.doc.files.names())}
}

func (c *checker) topLevelKey(p *Pipeline, n *node) {
	switch n.name {
	case "name":
		if text, ok := c.text(n); ok {
			p.Name = text
			if !pipelinePattern.MatchString(text) {
				c.errorAt(n.value, "name: %q is no name for a pipeline: use letters, digits, _, . and -", clip(text))
			}
		}
	case "description":
		p.Description, _ = c.text(n)
	case "params", "kinds": // read before
	case "cache":
		p.Cache = c.readCache()
	case "stages":
		p.Stages = c.readStages()
	default:
		c.errorAt(n.key, "unknown key %q%s", clip(n.name), c.suggest(n.name, topLevel))
	}
}

// table is a top-level table, when the file has it.
func (c *checker) table(name string) (map[string]any, *node, bool) {
	n := c.doc.root.child(name)
	if n == nil {
		return nil, nil, false
	}
	table, ok := c.doc.values[name].(map[string]any)
	if !ok {
		c.errorAt(n.key, "%s must be a table, not %s", name, describe(c.doc.values[name]))
	}
	return table, n, ok
}

// text is the string of a top-level key.
func (c *checker) text(n *node) (string, bool) {
	v := plain(c.expand(c.doc.values[n.name], n))
	text, ok := v.(string)
	if !ok {
		c.errorAt(n.value, "%s must be a string, not %s", n.name, describe(v))
	}
	return text, ok
}

var cacheKeys = []string{"dir", "remotes", "trusted"}

// settingsKeys are those of the [cache] table in the user's settings.
var settingsKeys = append([]string{"sign"}, cacheKeys...)

func (c *checker) readCache() CacheConfig {
	var config CacheConfig
	table, n, ok := c.table("cache")
	if !ok {
		return config
	}
	keys := cacheKeys
	if c.isSettings {
		keys = settingsKeys
	}
	for _, child := range n.order {
		raw := table[child.name]
		switch {
		case !slices.Contains(keys, child.name):
			c.errorAt(child.key, "cache: unknown key %q%s", clip(child.name), c.suggest(child.name, keys))
		case child.name == "dir":
			config.Dir = c.cacheDir(c.expand(raw, child), child)
		case child.name == "remotes":
			config.Remotes = c.readRemotes(raw, child)
		case child.name == "trusted":
			config.Trusted = c.readTrusted(plain(c.expand(raw, child)), child)
		case child.name == "sign":
			config.Sign = c.readSign(raw, child)
		}
	}
	return config
}

// trustedPattern is a name and a public key of 32 bytes.
var trustedPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63} ed25519:[A-Za-z0-9+/]{43}=$`)

func (c *checker) readTrusted(v any, n *node) []string {
	list, ok := c.strings(n, v, "cache.trusted")
	if !ok {
		return nil
	}
	for i, text := range list {
		list[i] = strings.Join(strings.Fields(text), " ")
		if !trustedPattern.MatchString(list[i]) {
			c.errorAt(n.element(i).value, "cache.trusted: %q is no name with a key, such as \"ann ed25519:…\": \"prismflow cache trust\" prints it", clip(text))
		}
	}
	return list
}

func (c *checker) readSign(v any, n *node) *bool {
	sign, ok := v.(bool)
	if !ok {
		c.errorAt(n.value, "cache.sign must be true or false, not %s", describe(v))
	}
	return &sign
}

func (c *checker) cacheDir(value any, n *node) string {
	settled := c.settle(value, n, true)
	dir, ok := settled.V.(string)
	switch {
	case !ok || dir == "":
		c.errorAt(n.value, "cache.dir must be a directory, not %s", describe(settled.V))
		return ""
	case filepath.IsAbs(dir):
		return filepath.Clean(dir)
	}
	return filepath.Join(settled.Base, dir)
}

// strings is a value that must be a list of strings; one string stands for a
// list of one.
func (c *checker) strings(n *node, v any, name string) ([]string, bool) {
	if text, ok := v.(string); ok {
		return []string{text}, true
	}
	items, ok := v.([]any)
	if !ok {
		c.errorAt(n.value, "%s must be a list of strings, not %s", name, describe(v))
		return nil, false
	}
	var list []string
	for i, item := range items {
		text, isText := item.(string)
		if !isText {
			c.errorAt(n.element(i).value, "%s must be a list of strings; this is %s", name, describe(item))
			ok = false
		}
		list = append(list, text)
	}
	return list, ok
}

// describe names a value for a message.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the string %q", clip(v))
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprintf("%v", v)
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date; write one as a string" // TOML has no other values
}

// given says of a key's raw value which parameter made it what it is, as a
// remedy behind a message about it.
func (c *checker) given(raw any) string {
	p := c.referred(raw)
	if p == nil {
		return ""
	}
	name := p.Name
	switch {
	case p.Overridden:
		return fmt.Sprintf("; the value is that of -p %s", name)
	case p.Value == "":
		return "; set it with " + c.waysToSet(p)
	}
	return fmt.Sprintf("; the value is that of parameter %s at %s", name, c.placeText(p))
}

// referred is the parameter that a raw value stands for, if it is one and nothing
// else.
func (c *checker) referred(raw any) *parameter {
	text, _ := raw.(string)
	name, ok := strings.CutPrefix(text, opening)
	if !ok {
		return nil
	}
	return c.params[strings.TrimSuffix(name, "}")]
}

// waysToSet are the flags that give an empty parameter a value: its own, and
// those of the parameters that its default takes it from.
func (c *checker) waysToSet(p *parameter) string {
	ways := "-p " + p.Name + "=…"
	for from := c.referred(p.Default); from != nil; from = c.referred(from.Default) {
		ways += " or -p " + from.Name + "=…"
		if len(ways) > 200 { // defaults may go round in circles, which is said elsewhere
			break
		}
	}
	return ways
}

// placeText is where a parameter's default stands, with its file where there
// are several.
func (c *checker) placeText(p *parameter) string {
	place := fmt.Sprintf("%d:%d", p.Line, p.Column)
	if len(c.doc.files.docs) > 1 {
		return p.File + ":" + place
	}
	return place
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
