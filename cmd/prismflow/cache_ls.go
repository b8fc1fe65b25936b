package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages/engine"
)

type lsOptions struct {
	cacheOptions
	stage, kind, user string
	older, larger     string
	sort              string
}

// cacheLsReport is what `cache ls --json` prints.
type cacheLsReport struct {
	Format  int             `json:"format"`
	Results []cachedResult  `json:"results"`
	Damaged []damagedResult `json:"damaged"` // whatever the filters are
}

// A cachedResult is a result in the cache as lists tell it.
type cachedResult struct {
	Key         artifacts.Key `json:"key"`
	Pipeline    string        `json:"pipeline"`
	Stage       string        `json:"stage"`
	Kind        string        `json:"kind"`
	Made        time.Time     `json:"made"`
	Used        time.Time     `json:"used"` // last, within a minute
	User        string        `json:"user,omitempty"`
	Host        string        `json:"host,omitempty"` // where it was made
	From        string        `json:"from,omitempty"` // the remote that it is from, if a run here fetched it
	Run         string        `json:"run"`
	Seconds     float64       `json:"seconds"` // that making it took
	Bytes       int64         `json:"bytes"`   // of all its blobs
	Rows        int64         `json:"rows"`    // of all its tables
	Pinned      bool          `json:"pinned"`
	InUse       bool          `json:"in_use"` // used since the oldest run in progress began
	Signed      bool          `json:"signed"`
	Alternative bool          `json:"alternative"` // another came first under the key, and stands
	Incomplete  string        `json:"incomplete,omitempty"`
}

type damagedResult struct {
	Key   artifacts.Key `json:"key"`
	Error string        `json:"error"`
}

const cacheLsDoc = `Ls lists the results in the cache: their stages, how large they are, when they
were made and last used, by whom and where, the remote that a run here fetched
them from, and what is to be known of them: pinned, in use, incomplete, signed,
or an alternative, which came out differently than the result that stands under
its key. With FILE only those of one pipeline.

--older goes by the last use, as gc does. What stages remember of single rows has
kinds that begin with memo:. Listing is no use.`

// resultOrders are the ways to sort a list, ties by key.
var resultOrders = map[string]func(a, b cachedResult) int{
	"stage": func(a, b cachedResult) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.Stage, b.Stage), b.Made.Compare(a.Made))
	},
	"used":    func(a, b cachedResult) int { return b.Used.Compare(a.Used) },
	"made":    func(a, b cachedResult) int { return b.Made.Compare(a.Made) },
	"size":    func(a, b cachedResult) int { return cmp.Compare(b.Bytes, a.Bytes) },
	"rows":    func(a, b cachedResult) int { return cmp.Compare(b.Rows, a.Rows) },
	"seconds": func(a, b cachedResult) int { return cmp.Compare(b.Seconds, a.Seconds) },
}

const resultOrderNames = "stage, used, made, size, rows or seconds"

func newCacheLsCommand(s *streams) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:   "ls [FILE]",
		Short: "List the results in the cache",
		Long:  cacheLsDoc,
		Example: `  prismflow cache ls
  prismflow cache ls pipeline.toml --stage train --sort made
  prismflow cache ls --older 30d --larger 1GiB --sort size`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCacheLs(cmd.Context(), strings.Join(args, ""), o, s)
		},
	}
	registerCache(cmd, &o.cache)
	registerJSON(cmd, &o.json, "print one JSON object")
	flags := cmd.Flags()
	flags.StringVar(&o.stage, "stage", "", "only results of stages of this `NAME`")
	flags.StringVar(&o.kind, "kind", "", "only results of stages of this `KIND`")
	flags.StringVar(&o.user, "user", "", "only results that this `USER` made")
	flags.StringVar(&o.older, "older", "", "only what was not used for `TIME`, such as 30d or 12h")
	flags.StringVar(&o.larger, "larger", "", "only what is larger than `SIZE`, such as 1GiB")
	flags.StringVar(&o.sort, "sort", "stage", "sort by `WHAT`: "+resultOrderNames)
	return cmd
}

func runCacheLs(ctx context.Context, file string, o lsOptions, s *streams) error {
	wanted, err := o.filter(s.now())
	if err != nil {
		return err
	}
	order, ok := resultOrders[o.sort]
	if !ok {
		return usageError{fmt.Errorf("--sort %s: must be %s", o.sort, resultOrderNames)}
	}
	pipeline, dir := "", ""
	if file != "" {
		p, err := loadPipeline(file, &pipelineOptions{}, s)
		if err != nil {
			return err
		}
		pipeline, dir = p.Name, p.Cache.Dir
	}
	store, err := openCache(o.cache, dir, s)
	if err != nil {
		return err
	}
	defer store.Close()
	facts, err := readResultFacts(ctx, store, s)
	if err != nil {
		return cacheError{err}
	}
	report, err := listResults(ctx, store, facts, func(r cachedResult) bool {
		return (pipeline == "" || r.Pipeline == pipeline) && wanted(r)
	})
	if err != nil {
		return cacheError{fmt.Errorf("listing the cache %s: %w", store.Dir(), err)}
	}
	slices.SortFunc(report.Results, func(a, b cachedResult) int {
		return cmp.Or(order(a, b), cmp.Compare(a.Key, b.Key), a.Made.Compare(b.Made))
	})
	if o.json {
		return writeJSON(s.out, report)
	}
	return writeResults(report, s)
}

// filter is what the flags let through.
func (o lsOptions) filter(now time.Time) (func(cachedResult) bool, error) {
	older, err := parseAge(o.older)
	if err != nil {
		return nil, usageError{fmt.Errorf("--older: %w", err)}
	}
	larger, err := parseSize(o.larger)
	if err != nil {
		return nil, usageError{fmt.Errorf("--larger: %w", err)}
	}
	return func(r cachedResult) bool {
		return (o.stage == "" || r.Stage == o.stage) && (o.kind == "" || r.Kind == o.kind) && (o.user == "" || r.User == o.user) &&
			(older == 0 || r.Used.Before(now.Add(-older))) && (larger == 0 || r.Bytes > larger)
	}, nil
}

// listResults lists what is wanted of the results in the store.
func listResults(ctx context.Context, store *disk.Store, facts resultFacts, wanted func(cachedResult) bool) (cacheLsReport, error) {
	report := cacheLsReport{Format: 1, Results: []cachedResult{}, Damaged: []damagedResult{}}
	err := store.EachResult(ctx, func(r disk.Result) error {
		if r.Damaged != nil {
			report.Damaged = append(report.Damaged, damagedResult{r.Key, r.Damaged.Error()})
		} else if row := facts.listed(r); !r.Foreign && wanted(row) {
			report.Results = append(report.Results, row)
		}
		return nil
	})
	slices.SortFunc(report.Damaged, func(a, b damagedResult) int { return cmp.Compare(a.Key, b.Key) })
	return report, err
}

// resultFacts are what is to be known of results beside what they say themselves.
type resultFacts struct {
	pinned  map[artifacts.Key]bool
	origins map[artifacts.Key]string
	leases  []disk.LeaseInfo
}

func readResultFacts(ctx context.Context, store *disk.Store, s *streams) (f resultFacts, err error) {
	pins, err := engine.Pinned(ctx, store)
	if err != nil {
		s.err.printf("what is pinned is not listed as such: %v\n", err) // the rest is worth listing
	}
	f.pinned = map[artifacts.Key]bool{}
	for _, key := range pins.Keys {
		f.pinned[key] = true
	}
	if f.origins, err = engine.Origins(store); err != nil {
		return f, err
	}
	f.leases, err = store.Leases()
	return f, err
}

// listed is a result with what is to be known of it.
func (f resultFacts) listed(r disk.Result) cachedResult {
	l := listed(r)
	l.Pinned, l.From = f.pinned[r.Key], f.origins[r.Key]
	for _, lease := range f.leases {
		l.InUse = l.InUse || !r.Used.Before(lease.Started)
	}
	return l
}

// listed is what a result's manifest says of it.
func listed(r disk.Result) cachedResult {
	p := r.Manifest.Provenance
	l := cachedResult{
		Key: r.Manifest.Key, Pipeline: p.Pipeline, Stage: p.Stage, Kind: r.Manifest.Request.Kind,
		Made: p.Started, Used: r.Used, User: p.User, Host: p.Host, Run: p.Run, Seconds: p.Seconds,
		Signed: r.Signed, Alternative: r.Alternative, Incomplete: r.Manifest.Incomplete,
	}
	seen := map[artifacts.Digest]bool{}
	for _, f := range r.Files {
		if !seen[f.Digest] {
			seen[f.Digest] = true
			l.Bytes += f.Bytes
		}
	}
	for _, output := range r.Manifest.Outputs {
		l.Rows += output.Rows
	}
	return l
}

func writeResults(report cacheLsReport, s *streams) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	var total int64
	for _, r := range report.Results {
		total += r.Bytes
		cells := []string{
			r.Key.Short(), r.Pipeline + "/" + r.Stage, r.Kind, byteSize(r.Bytes), rowsText(r.Rows), instant(r.Made),
			"used " + instant(r.Used), whoAt(r.User, r.Host), r.From, strings.Join(r.marks(), ", "),
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.out.printf("%s, %s; what several share is counted for each\n", count(len(report.Results), "result"), byteSize(total))
	for _, d := range report.Damaged {
		s.err.printf("%s is damaged: %s\n", d.Key.Short(), d.Error)
	}
	if n := len(report.Damaged); n > 0 {
		s.err.printf("%s damaged; \"prismflow cache verify --repair\" takes out what is broken\n", count(n, "result"))
	}
	return nil
}

func rowsText(rows int64) string {
	if rows == 0 {
		return ""
	}
	return count(int(rows), "row")
}

// marks are what is to be known of a result.
func (r cachedResult) marks() []string {
	var marks []string
	for _, mark := range []struct {
		holds bool
		text  string
	}{
		{r.Pinned, "pinned"}, {r.InUse, "in use"}, {r.Signed, "signed"},
		{r.Alternative, "alternative"}, {r.Incomplete != "", "incomplete: " + r.Incomplete},
	} {
		if mark.holds {
			marks = append(marks, mark.text)
		}
	}
	return marks
}
