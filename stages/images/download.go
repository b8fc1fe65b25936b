package images

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
	"github.com/prismflow/prismflow/stages/tables"
)

const downloadVersion = 1

// itemURL is what is read of an item.
type itemURL struct {
	Item     string `arrow:"item"`
	ImageURL string `arrow:"image_url"`
}

// Download is the stage kind images.download.
type Download struct {
	Items     stages.In[itemURL] `stage:"items" doc:"the items whose pictures are wanted, and where those are"`
	Directory stages.Source      `stage:"directory" optional:"true" directory:"true" doc:"a directory with pictures named <item>.jpg, .jpeg, .png, .gif or .webp, the item id percent-escaped as in a URL's path; an item that has its picture there is not asked for elsewhere"`
	Site      stages.Source      `stage:"site" optional:"true" doc:"for demonstrations and tests: pictures of synthetic.amazon, which are served on loopback while the stage runs and asked for over HTTP; nothing else is dialled then"`

	MaxBytes     int64   `stage:"max_bytes" default:"20971520" min:"1024" max:"67108864" unit:"bytes" doc:"size of a picture's file above which it fails"`
	MaxPixels    int64   `stage:"max_pixels" default:"67108864" min:"1" max:"1073741824" unit:"pixels" doc:"width × height above which a picture fails, by what its header says"`
	MaxRedirects int64   `stage:"max_redirects" default:"5" min:"0" max:"20" doc:"redirects to follow from a URL"`
	MaxFailed    float64 `stage:"max_failed" default:"0.2" min:"0" max:"1" doc:"share of the items with a known picture that may fail; more fail the stage"`
	AllowPrivate bool    `stage:"allow_private" default:"false" doc:"also ask loopback, private and link-local addresses"`
	AllowFiles   bool    `stage:"allow_files" default:"false" doc:"also read file:// URLs, which name files of this machine"`

	Concurrency    stages.Setting[int64]   `stage:"concurrency" default:"32" min:"1" max:"1024" doc:"requests at once"`
	PerHost        stages.Setting[int64]   `stage:"concurrency_per_host" default:"8" min:"1" max:"1024" doc:"requests to one host at once"`
	Rate           stages.Setting[float64] `stage:"requests_per_second" default:"50" min:"0" max:"100000" doc:"requests to one host a second; 0 for no limit"`
	ConnectTimeout stages.Setting[float64] `stage:"connect_timeout" default:"10" min:"0.001" max:"3600" unit:"seconds" doc:"for a connection, and as long again for its encryption"`
	HeaderTimeout  stages.Setting[float64] `stage:"header_timeout" default:"20" min:"0.001" max:"3600" unit:"seconds" doc:"for a server to begin its answer"`
	StallTimeout   stages.Setting[float64] `stage:"stall_timeout" default:"20" min:"0.001" max:"3600" unit:"seconds" doc:"for which a server may send nothing in the middle of a picture"`
	BodyTimeout    stages.Setting[float64] `stage:"body_timeout" default:"120" min:"0.001" max:"86400" unit:"seconds" doc:"for a whole picture, once its answer began"`
	MaxAttempts    stages.Setting[int64]   `stage:"max_attempts" default:"4" min:"1" max:"100" doc:"how often a URL is asked for in one run when it fails in a way that may pass"`
	Backoff        stages.Setting[float64] `stage:"backoff" default:"0.5" min:"0.001" max:"3600" unit:"seconds" doc:"about how long to wait before the second attempt; twice as long before each further one"`
	MaxWait        stages.Setting[float64] `stage:"max_wait" default:"60" min:"0.001" max:"86400" unit:"seconds" doc:"the longest wait before an attempt; a host that asks for a longer one (Retry-After) is left alone for the rest of the run"`
	HostFailures   stages.Setting[int64]   `stage:"host_failures" default:"50" min:"0" doc:"attempts that fail in a row after which a host is left alone for the rest of the run; 0 for no end"`
	Memory         stages.Setting[int64]   `stage:"memory" default:"268435456" min:"1048576" unit:"bytes" doc:"for pictures that are being received; one of max_bytes fits in any case"`
	UserAgent      stages.Setting[string]  `stage:"user_agent" default:"prismflow (+https://github.com/prismflow/prismflow)" doc:"who servers are told is asking"`
	RetryFailed    stages.Setting[string]  `stage:"retry_failed" default:"transient" enum:"transient,none,all" doc:"which of the failures that are remembered a run asks again: those that may pass, none, or all"`
	Revalidate     stages.Setting[bool]    `stage:"revalidate" default:"false" doc:"ask servers whether the pictures that are known have changed, and run even if nothing else did"`

	Images stages.Out[tables.Image] `stage:"images" doc:"one row an item, in the items' order"`

	world world
}

func downloadKind() stages.Kind {
	return stages.Declare[Download]("images.download", downloadVersion,
		"pictures of items from the web, each with what became of it").WithDoc(downloadDoc, `
[stages.images]
kind  = "images.download"
items = "corpus.items"            # or metadata.items: any table with item and image_url
user_agent = "example.org research, crawler@example.org"`)
}

const downloadDoc = `
Each item gets one row: its picture as the server sent it, with media type, size
and SHA-256, or the cause why there is none. A failed picture fails the stage only
when more than max_failed of those with a known picture do, or all. The counts at
the end say how many failed and of what.

What a URL served is remembered apart from the stage's result. A run that was
killed or interrupted goes on where it was, a larger table costs only its new
URLs, and several items with one URL cost one request. Failures are remembered,
too: retry_failed says which of them are asked for again. While some are left
that may pass (time-outs, 429, 5xx, broken connections), the next run enters the
stage again, for those alone. "none" takes all failures as final; to take that
back, run once with "all". revalidate asks for every row whether it changed, by
ETag and Last-Modified; a server that is down then costs no picture, and neither
does one that answers with something else for more of them than max_failed allows.
With --offline nobody is asked: what is remembered serves, and a URL that was never
asked for is an error.

Requests keep the manners that their limits say, for each host: so many at once,
so many a second, a pause when the host asks for one, no more after many failures
in a row. Redirects count as requests to the host that they lead to. Of the
environment, HTTP_PROXY, HTTPS_PROXY and NO_PROXY are used.

Nothing that comes from outside is trusted. Formats (JPEG, PNG, GIF, WebP) are
told by content. Size and pixels are limited before anything is decoded. No
request goes to a loopback, private or link-local address unless allow_private is
set; the address that is about to be dialled is checked, so neither redirects nor
name servers get around it. A proxy resolves names itself: there only addresses
that stand in a URL are checked. file:// URLs need allow_files; what they name is
no part of the key, as the files of directory are.`

// Validate checks what goes into a header.
func (d *Download) Validate() []stages.Problem {
	agent := d.UserAgent.Value
	if agent == "" || strings.ContainsFunc(agent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return []stages.Problem{{Param: "user_agent", Message: fmt.Sprintf("must be printable ASCII, not %.100q", agent)}}
	}
	return nil
}

// Revalidates says why the stage runs although its result is known.
func (d *Download) Revalidates() string {
	switch {
	case d.Revalidate.Value:
		return "revalidate asks whether pictures changed"
	case d.RetryFailed.Value == "all":
		return `retry_failed = "all" asks again for those that failed`
	}
	return ""
}

// Run downloads what is not known yet and writes the table.
func (d *Download) Run(ctx context.Context, env *stages.Env) error {
	memo, err := env.Memo(ctx, shelfScope(d.Site.Files()))
	if err != nil {
		return fmt.Errorf("opening what is known of pictures: %w", err)
	}
	r := run{Download: d, env: env, shelf: shelf{memo}}
	for _, step := range []func(context.Context) error{r.findFiles, r.makePlan, r.download, r.write} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	r.tally.report(r.plan)
	r.sayIncomplete()
	return nil
}

// A run is one run of the stage.
type run struct {
	*Download
	env   *stages.Env
	shelf shelf
	files map[string]stages.File // of the directory, by item
	plan  *plan
	tally *tally
}

// terms are the limits that decide some failures.
func (r *run) terms() string {
	return fmt.Sprintf("bytes %d, pixels %d, redirects %d, private %t", r.MaxBytes, r.MaxPixels, r.MaxRedirects, r.AllowPrivate)
}

func (r *run) limits() picture.Limits { return picture.Limits{Pixels: r.MaxPixels} }

// sayIncomplete lets the next run enter the stage again if that may help.
func (r *run) sayIncomplete() {
	if n := r.tally.passing.total(); n > 0 && r.RetryFailed.Value != "none" {
		r.env.Incomplete(fmt.Sprintf("%d pictures failed in a way that may pass: %s", n, r.tally.passing))
	}
}

func seconds(s stages.Setting[float64]) time.Duration {
	return time.Duration(s.Value * float64(time.Second))
}
