package pipelines

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prismflow/prismflow/stages"
)

// A Remote is a shared cache as somebody names it: in the [cache] table of a
// pipeline file or of the user's settings, by a flag, or in the environment.
type Remote struct {
	URL       string        // without options; of a directory file:// and its absolute path
	ReadOnly  bool          // nothing is sent to it
	Upload    string        // what of a run is sent: one of Uploads, empty for the first of them
	Parallel  int           // requests at once; 0 for the default
	Bandwidth int64         // bytes a second, both ways; 0 is no limit
	Timeout   time.Duration // how long it may be silent; 0 for the default
	MinRate   int64         // bytes a second below which a transfer counts as silent; 0 for the default
	TokenEnv  string        // variable of the environment that has the bearer token
	CA        string        // absolute path of a file with the certificates to believe, as PEM

	// PlainCredentials lets a token or a password go over http:// to another
	// machine, where everybody on the way can read it.
	PlainCredentials bool

	// FromPipeline says that a pipeline file names the remote and not the user: it
	// may be of a stranger, who must not get what the user shows to others.
	FromPipeline bool
}

// Public is the remote's URL as people may see it.
func (r Remote) Public() string { return stages.PublicURL(r.URL) }

// Uploads are the values of a remote's upload.
var Uploads = []string{"always", "on-success", "never"}

// Modes are the values of a remote's mode.
var Modes = []string{"read-write", "read"}

// remoteSchemes are the schemes of URLs that may be a remote's.
var remoteSchemes = []string{"file", "s3", "gs", "azblob", "http", "https"}

// remoteKeys are what a remote's table may have; all but url may stand as
// options behind the # of a URL.
var remoteKeys = []string{"url", "mode", "upload", "parallel", "bandwidth", "timeout", "min_rate", "token_env", "plain_credentials", "ca"}

// Bounds of a remote's settings.
const (
	MaxRemoteParallel = 256
	minRemoteTimeout  = 100 * time.Millisecond
	maxRemoteTimeout  = time.Hour
	minBandwidth      = 1 << 10 // bytes a second: with less not even an action arrives within the time-out
	maxMinRate        = 1 << 20 // bytes a second: more than that no line is sure to have for each request
)

// ParseRemote reads a remote as flags and the environment give it: a URL, and
// behind a # options such as mode=read&parallel=4, which are the keys of a
// remote's table in a file. Paths are relative to dir. The error lists all that
// is wrong.
func ParseRemote(text, dir string) (Remote, error) {
	var wrong []error
	r := readRemoteText(text, dir, false, func(p remoteProblem) { wrong = append(wrong, errors.New(p.message)) })
	return r, errors.Join(wrong...)
}

// A remoteProblem is one thing that is wrong with a remote.
type remoteProblem struct {
	key     string // of the remote's table; url for the URL itself
	unknown bool   // there is no such key
	message string
}

// A remoteReader reads one remote and collects what is wrong.
type remoteReader struct {
	Remote
	report func(remoteProblem)
}

func (r *remoteReader) wrong(key, format string, args ...any) {
	r.report(remoteProblem{key: key, message: fmt.Sprintf(format, args...)})
}

// readRemoteText reads a remote that is one text.
func readRemoteText(text, dir string, fromPipeline bool, report func(remoteProblem)) Remote {
	r := remoteReader{Remote: Remote{FromPipeline: fromPipeline}, report: report}
	address, options, _ := strings.Cut(text, "#")
	r.readURL(address, dir)
	values, err := url.ParseQuery(options)
	if err != nil {
		r.wrong("url", "the options of %s are not of the form #mode=read&parallel=4", r.shown(address))
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if len(values[key]) > 1 {
			r.wrong("url", "the option %s is set more than once", clip(key))
			continue
		}
		r.readKey(key, optionValue(key, values.Get(key)), dir)
	}
	r.checkTogether()
	return r.Remote
}

// optionValue is an option's text as a file would have it.
func optionValue(key, text string) any {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case key == "parallel" && err == nil:
		return n
	case key == "plain_credentials" && (text == "true" || text == "false"):
		return text == "true"
	}
	return text
}

// readURL checks a remote's address, and makes a directory's absolute.
func (r *remoteReader) readURL(text, dir string) {
	if path, ok := strings.CutPrefix(text, filePrefix); ok && !strings.HasPrefix(path, "//") && path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		r.URL = (&url.URL{Scheme: "file", Path: filepath.Clean(path)}).String()
		return
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		r.wrong("url", "a remote needs a URL, such as s3://bucket or file:///mnt/share")
		return
	case err != nil || u.Opaque != "":
		r.wrong("url", "%s is no URL", r.shown(text))
		return
	case u.Scheme == "":
		r.wrong("url", "%q is no URL: a directory is written file:%s", clip(text), clip(text))
		return
	case !slices.Contains(remoteSchemes, u.Scheme):
		r.wrong("url", "there are no remotes %s://%s; there are %s", clip(u.Scheme), stages.Suggest(u.Scheme, remoteSchemes), strings.Join(remoteSchemes, ", "))
		return
	}
	r.URL = text
	r.checkPlace(u)
	r.checkStranger(u)
}

// checkPlace checks that a URL names a place that its scheme can have.
func (r *remoteReader) checkPlace(u *url.URL) {
	isWeb := u.Scheme == "http" || u.Scheme == "https"
	switch {
	case u.Scheme == "file" && (u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path)):
		r.wrong("url", "%s: a directory is written file:/// and its absolute path, or file: and a relative one", r.Public())
	case u.RawQuery != "" && (u.Scheme == "file" || isWeb):
		r.wrong("url", "%s: nothing can stand behind a ? here; options stand behind a #", r.Public())
	case u.Scheme == "file":
		r.URL = (&url.URL{Scheme: "file", Path: filepath.Clean(u.Path)}).String()
	case u.Hostname() == "" && isWeb:
		r.wrong("url", "%s names no server", r.Public())
	case u.Hostname() == "":
		r.wrong("url", "%s names no bucket", r.Public())
	}
	if u.User != nil && !isWeb {
		r.wrong("url", "%s: credentials do not belong into the URL of a bucket or a directory: docs/sharing.md says where they are found", r.Public())
	}
}

// checkStranger refuses what a pipeline file, which may be of a stranger, could
// use to get at the user's credentials: a choice among them, and a server that
// they are shown to. Where a request is signed, as for s3://, it does not contain
// them, and any server may be named.
func (r *remoteReader) checkStranger(u *url.URL) {
	if !r.FromPipeline {
		return
	}
	if u.User != nil {
		r.wrong("url", "%s: a pipeline file is no place for credentials: docs/sharing.md says where they are found", r.Public())
	}
	for _, name := range []string{"endpoint", "profile"} {
		if u.Query().Has(name) && (name != "endpoint" || u.Scheme != "s3") {
			r.wrong("url", "%s: %s says which of your credentials are shown, or to whom: it may stand in your settings, in PRISMFLOW_REMOTE or in --remote, not in a pipeline file", r.Public(), name)
		}
	}
}

func (r *remoteReader) shown(text string) string { return stages.PublicURL(text) }

// variablePattern has no small letters, so that a token in the place of a
// variable's name is noticed.
var variablePattern = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// readKey reads one key of a remote, but not its URL.
func (r *remoteReader) readKey(key string, value any, dir string) {
	switch key {
	case "mode":
		mode := r.oneOf(key, value, Modes)
		r.ReadOnly = mode == "read"
	case "upload":
		r.Upload = r.oneOf(key, value, Uploads)
	case "parallel":
		n, err := count(value, 1, MaxRemoteParallel)
		if err != nil {
			r.wrong(key, "parallel: %v", err)
		}
		r.Parallel = n
	case "bandwidth":
		r.Bandwidth = r.rate(key, value, "50MiB/s", minBandwidth, math.MaxInt64)
	case "min_rate":
		r.MinRate = r.rate(key, value, "256B/s", 1, maxMinRate)
	case "timeout":
		timeout, err := parseDuration(value)
		switch {
		case err != nil:
			r.wrong(key, "timeout %v", err)
		case timeout < minRemoteTimeout || timeout > maxRemoteTimeout:
			r.wrong(key, "timeout must be from %s to %s, not %s", minRemoteTimeout, maxRemoteTimeout, timeout)
		}
		r.Timeout = timeout
	case "token_env":
		r.readTokenEnv(value)
	case "plain_credentials":
		r.readPlainCredentials(value)
	case "ca":
		path, ok := value.(string)
		switch {
		case !ok || path == "":
			r.wrong(key, "ca must be a file of certificates, not %s", describe(value))
		case filepath.IsAbs(path):
			r.CA = filepath.Clean(path)
		default:
			r.CA = filepath.Join(dir, path)
		}
	default:
		r.report(remoteProblem{key: key, unknown: true, message: fmt.Sprintf("a remote has no option %q%s", clip(key), stages.Suggest(clip(key), remoteKeys[1:]))})
	}
}

func (r *remoteReader) oneOf(key string, value any, known []string) string {
	text, ok := value.(string)
	switch {
	case !ok:
		r.wrong(key, "%s must be one of %s, not %s", key, strings.Join(known, ", "), describe(value))
	case !slices.Contains(known, text):
		r.wrong(key, "%s must be one of %s, not %q%s", key, strings.Join(known, ", "), clip(text), stages.Suggest(clip(text), known))
	default:
		return text
	}
	return ""
}

// rate reads an amount a second.
func (r *remoteReader) rate(key string, value any, example string, least, most int64) int64 {
	text, _ := value.(string)
	n, ok := ParseSize(strings.TrimSuffix(text, "/s"))
	switch {
	case !ok:
		r.wrong(key, "%s must be an amount a second such as %q, not %s", key, example, describe(value))
	case n < least:
		r.wrong(key, "%s must be at least %dKiB/s, not %q", key, least>>10, clip(text))
	case n > most:
		r.wrong(key, "%s must be at most %dMiB/s, not %q", key, most>>20, clip(text))
	}
	return n
}

// readTokenEnv reads the name of the variable with the token. A pipeline file
// may name none: with it a stranger could have any secret sent anywhere.
func (r *remoteReader) readTokenEnv(value any) {
	text, ok := value.(string)
	switch {
	case !ok || !variablePattern.MatchString(text):
		// Not shown, since it may be the token itself.
		r.wrong("token_env", "token_env must be the name of a variable of the environment, in capitals, and not a token")
		return
	case r.FromPipeline:
		r.wrong("token_env", "a pipeline file cannot say which of your variables is sent to a server: put the token into %s, which is for this server alone, or name the remote in your settings", r.hostVariable())
	}
	r.TokenEnv = text
}

// readPlainCredentials reads whether credentials may go where others can read
// them, which is not a pipeline file's to say: they are its user's.
func (r *remoteReader) readPlainCredentials(value any) {
	allowed, ok := value.(bool)
	switch {
	case !ok:
		r.wrong("plain_credentials", "plain_credentials must be true or false, not %s", describe(value))
	case r.FromPipeline:
		r.wrong("plain_credentials", "a pipeline file cannot say that your credentials may go where others can read them: name the remote in your settings")
	}
	r.PlainCredentials = allowed
}

func (r *remoteReader) hostVariable() string {
	if name := r.HostVariable(); name != "" {
		return name
	}
	return tokenPrefix + "<HOST>"
}

// tokenPrefix before a server's name makes the variable that has its token.
const tokenPrefix = "PRISMFLOW_TOKEN_"

// hostPattern takes no names that two servers could turn into one variable.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]+(-+[A-Za-z0-9]+)*(\.[A-Za-z0-9]+(-+[A-Za-z0-9]+)*)*(:[0-9]+)?$`)

// endsLikePort says whether the end of a name, which is no number where it is of
// the public ones, could be taken for another server's port: cache.corp.8443.
func endsLikePort(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") == "" && net.ParseIP(host) == nil
}

// HostVariable is the variable of the environment that has the token for the
// server of an http:// or https:// remote and for no other, so that it may be
// sent there whoever named the remote: PRISMFLOW_TOKEN_ and the server's name in
// capitals, with _ for . and : and __ for -. It is empty where there is none.
func (r Remote) HostVariable() string {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !hostPattern.MatchString(u.Host) || endsLikePort(u.Hostname()) {
		return ""
	}
	return tokenPrefix + strings.ToUpper(strings.NewReplacer("-", "__", ".", "_", ":", "_").Replace(u.Host))
}

// checkTogether checks what no key says alone.
func (r *remoteReader) checkTogether() {
	isWeb := strings.HasPrefix(r.URL, "http://") || strings.HasPrefix(r.URL, "https://")
	if r.ReadOnly && r.Upload != "" && r.Upload != "never" {
		r.wrong("upload", "upload is %q, and with mode \"read\" nothing is sent: leave one of them out", r.Upload)
	}
	if r.URL != "" && !isWeb && r.TokenEnv != "" {
		r.wrong("token_env", "token_env is for http:// and https://, not for %s", r.Public())
	}
	if r.URL != "" && !strings.HasPrefix(r.URL, "http://") && r.PlainCredentials {
		r.wrong("plain_credentials", "plain_credentials is for http://, not for %s", r.Public())
	}
	if r.URL != "" && !strings.HasPrefix(r.URL, "https://") && r.CA != "" {
		r.wrong("ca", "ca is for https://, not for %s", r.Public())
	}
}

// readRemotes reads the list of remotes of a [cache] table. What one names twice
// counts where it stands first.
func (c *checker) readRemotes(raw any, n *node) []Remote {
	value := c.expand(raw, n)
	if _, isText := value.(placedText); isText {
		value = []any{value}
		n = &node{key: n.key, value: n.value, elements: []*node{n}}
	}
	items, ok := value.([]any)
	if !ok {
		c.errorAt(n.value, "cache.remotes must be a list of URLs and tables { url = … }, not %s", describe(plain(value)))
		return nil
	}
	var remotes []Remote
	for i, item := range items {
		remote, ok := c.readRemote(item, n.element(i))
		if ok && !slices.ContainsFunc(remotes, func(r Remote) bool { return r.URL == remote.URL }) {
			remotes = append(remotes, remote)
		}
	}
	return remotes
}

func (c *checker) readRemote(item any, n *node) (Remote, bool) {
	sound := true
	report := func(p remoteProblem) {
		sound = false
		child := n.find(p.key)
		if p.unknown && child != n {
			c.errorAt(child.key, "cache.remotes: %s", p.message)
			return
		}
		c.errorAt(child.value, "cache.remotes: %s", p.message)
	}
	switch item := item.(type) {
	case placedText:
		return readRemoteText(item.text, item.dir, c.fromStranger(), report), sound
	case map[string]any:
		return c.readRemoteTable(item, n, report), sound
	}
	c.errorAt(n.value, "cache.remotes must be a list of URLs and tables { url = … }; this is %s", describe(plain(item)))
	return Remote{}, false
}

func (c *checker) readRemoteTable(table map[string]any, n *node, report func(remoteProblem)) Remote {
	r := remoteReader{Remote: Remote{FromPipeline: c.fromStranger()}, report: report}
	address := c.settle(table["url"], n, false)
	text, ok := address.V.(string)
	switch {
	case table["url"] == nil:
		r.wrong("", "the remote has no url")
	case !ok:
		r.wrong("url", "url must be a string, not %s", describe(address.V))
	case strings.Contains(text, "#"):
		r.wrong("url", "%s: in a table the options are keys of their own, and not behind a #", r.shown(text))
	default:
		r.readURL(text, address.Base)
	}
	for _, child := range n.order {
		if child.name != "url" {
			value := c.settle(table[child.name], child, false)
			r.readKey(child.name, value.V, value.Base)
		}
	}
	r.checkTogether()
	return r.Remote
}

// fromStranger says whether what is read is a pipeline and not the user's own
// settings.
func (c *checker) fromStranger() bool { return !c.isSettings }
