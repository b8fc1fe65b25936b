package cloud

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An address is what the URL of a bucket, or of something in it, says.
type address struct {
	scheme string
	bucket string
	path   string // below the bucket, without a slash at its beginning
	params map[string]string

	anonymous bool // without credentials
	pathStyle bool // of S3: the bucket is in the path of requests, not in the server's name
}

// A provider is what its URLs may say.
type provider struct {
	bucket string         // what it calls a bucket
	names  *regexp.Regexp // of buckets
	shape  string         // the same in words
	params []string
	make   func(address, Options) service
}

// providers are those that there are, by scheme.
func providers() map[string]provider {
	return map[string]provider{
		"s3": {
			"bucket", regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`),
			"3 to 63 lower-case letters, digits, dots and hyphens, a letter or digit at both ends",
			[]string{"anonymous", "endpoint", "profile", "region", "use_path_style"}, newS3,
		},
		"gs": {
			"bucket", regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`),
			"3 to 222 lower-case letters, digits, dots, hyphens and underscores, a letter or digit at both ends",
			[]string{"anonymous", "endpoint"}, newGCS,
		},
		"azblob": {
			"container", regexp.MustCompile(`^(\$root|\$web|[a-z0-9]([a-z0-9]|-[a-z0-9]){2,62})$`),
			"3 to 63 lower-case letters, digits and single hyphens, a letter or digit at both ends",
			[]string{"account", "anonymous", "endpoint"}, newAzure,
		},
	}
}

// Schemes are those of the URLs that the package knows, sorted.
func Schemes() []string { return slices.Sorted(maps.Keys(providers())) }

// parse reads a URL, and says what is wrong with one without repeating what may
// be a credential in it.
func parse(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return address{}, fmt.Errorf("it is no URL such as s3://BUCKET/PREFIX")
	}
	p, known := providers()[u.Scheme]
	switch {
	case !known || u.Opaque != "":
		return address{}, fmt.Errorf("want a URL such as s3://BUCKET/PREFIX; the schemes are %s", strings.Join(Schemes(), ", "))
	case u.User != nil:
		return address{}, errors.New("credentials do not belong in the URL: give them as the provider's own tools take them")
	case u.Host == "":
		return address{}, fmt.Errorf("it names no %s: want %s://%s/PREFIX", p.bucket, u.Scheme, strings.ToUpper(p.bucket))
	case !p.names.MatchString(u.Host):
		return address{}, fmt.Errorf("%.80q is no name of a %s: it has %s", u.Host, p.bucket, p.shape)
	case u.Fragment != "":
		return address{}, errors.New("it has a #: write %23 where the name has one")
	}
	a := address{scheme: u.Scheme, bucket: u.Host, path: strings.TrimPrefix(u.Path, "/")}
	if a.params, err = parseParams(u.RawQuery, p.params); err != nil {
		return address{}, err
	}
	var styleErr error
	a.anonymous, err = a.flag("anonymous")
	a.pathStyle, styleErr = a.flag("use_path_style")
	return a, errors.Join(styleErr, err)
}

// accountPattern is what an account may be called. It becomes a part of a server's
// name: with a slash in it, it would be the server, which is shown credentials.
var accountPattern = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

func parseParams(query string, known []string) (map[string]string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("what is behind its ? are no parameters such as name=value")
	}
	params := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("unknown parameter %.40q: there are %s", name, strings.Join(known, ", "))
		case len(values[name]) > 1:
			return nil, fmt.Errorf("parameter %s is given %d times", name, len(values[name]))
		}
		params[name] = values[name][0]
	}
	if account, given := params["account"]; given && !accountPattern.MatchString(account) {
		return nil, errors.New("parameter account is no name of a storage account: it has 3 to 24 lower-case letters and digits")
	}
	if endpoint, given := params["endpoint"]; given {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return nil, errors.New("parameter endpoint is no address such as https://HOST:PORT, without credentials")
		}
	}
	return params, nil
}

// exposes says whether whoever wrote the address could get at credentials by it.
// What is sent to Azure opens an account, or the object that is asked for, to
// whoever sees it; what is sent to the others is for the server alone that it is
// sent to, or is nothing where another one is named.
func (a address) exposes() bool {
	endpoint, given := a.params["endpoint"]
	if a.scheme != "azblob" || !given || a.anonymous {
		return false
	}
	u, err := url.Parse(endpoint)
	return err != nil || u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback()
}

// flag is a parameter that is true or, as when it is not given, false.
func (a address) flag(name string) (bool, error) {
	text, given := a.params[name]
	if !given {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("parameter %s is %.40q, want true or false", name, text)
	}
	return value, nil
}

// prefix is the path as that of a folder: empty, or with a slash at its end.
func (a address) prefix() (string, error) {
	folder := strings.TrimSuffix(a.path, "/")
	switch {
	case folder == "":
		return "", nil
	case path.Clean("/"+folder) != "/"+folder:
		return "", fmt.Errorf("the prefix %.200q has an empty part or one of dots alone", folder)
	}
	return folder + "/", nil
}

// String is the address without parameters that say how it is reached, except for
// whose server it is.
func (a address) String() string {
	u := url.URL{Scheme: a.scheme, Host: a.bucket, Path: a.path}
	if endpoint := a.params["endpoint"]; endpoint != "" {
		u.RawQuery = "endpoint=" + endpoint
	}
	return u.String()
}
