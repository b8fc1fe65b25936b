package images

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prismflow/prismflow/stages"
)

// failures counts by cause.
type failures map[cause]int

func (f failures) total() int {
	n := 0
	for _, count := range f {
		n += count
	}
	return n
}

// causes are those that occur, the most frequent first.
func (f failures) causes() []cause {
	return slices.SortedFunc(maps.Keys(f), func(a, b cause) int {
		return cmp.Or(cmp.Compare(f[b], f[a]), cmp.Compare(a, b))
	})
}

func (f failures) String() string {
	var parts []string
	for _, c := range f.causes() {
		parts = append(parts, fmt.Sprintf("%d %s", f[c], strings.ReplaceAll(string(c), "_", " ")))
	}
	return strings.Join(parts, ", ")
}

// A tally counts what became of the items, tells how far the stage is, and says
// when too many have failed.
type tally struct {
	env   *stages.Env
	total int // items with a known picture
	most  int // of them may fail
	share float64
	asked int // URLs

	mu          sync.Mutex       // guards what follows
	pictures    int              // items
	failed      failures         // items
	passing     failures         // items among them whose failure may pass
	examples    map[cause]string // the first failure of each
	before      failures         // items whose failure was known when the plan was made
	done        int              // URLs
	downloaded  int              // URLs
	unchanged   int              // URLs
	retried     failures         // requests that were made again, by why
	unreachable int              // URLs whose picture is known and could not be asked about
	bytes       int64
	told        time.Time // when metrics were last told
}

// metricsInterval is how often numbers change that a person watches.
const metricsInterval = time.Second

// rounding makes up for shares that binary numbers are a little less than.
const rounding = 1e-6

func newTally(env *stages.Env, p *plan, maxFailed float64) *tally {
	t := &tally{
		env: env, total: p.total(), most: int(maxFailed*float64(p.total()) + rounding), share: maxFailed,
		asked: len(p.ask), failed: failures{}, passing: failures{}, retried: failures{}, examples: map[cause]string{},
	}
	for _, url := range slices.Sorted(maps.Keys(p.targets)) {
		if target := p.targets[url]; target.need == reuse || target.need == giveUp {
			t.count(target.failure, target.items, stages.PublicURL(url))
		}
	}
	t.before = maps.Clone(t.failed)
	return t
}

// count counts what became of some items.
func (t *tally) count(f *failure, items int, where string) {
	if f == nil {
		t.pictures += items
		return
	}
	t.failed[f.cause] += items
	if f.transient {
		t.passing[f.cause] += items
	}
	if t.examples[f.cause] == "" {
		t.examples[f.cause] = where + ": " + f.text
	}
}

// file counts an item whose picture was to be read from a file.
func (t *tally) file(f *failure, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(f, 1, name)
	return t.check()
}

// lose counts a picture that was counted and is none.
func (t *tally) lose(f *failure, url string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pictures--
	t.count(f, 1, stages.PublicURL(url))
	return t.check()
}

// again counts a request that is made once more.
func (t *tally) again(f *failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retried[f.cause]++
}

// An ending is how the asking for a target ended.
type ending int

const (
	gotPicture ending = iota
	gotUnchanged
	gotFailure
	keptOld // it could not be asked for, and the picture that is known stays
)

// settle counts a target that was asked for. bytes are those that came.
func (t *tally) settle(target *target, how ending, bytes int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	switch how {
	case gotPicture:
		t.downloaded++
		t.bytes += int64(bytes)
	case gotUnchanged:
		t.unchanged++
	case keptOld:
		t.unreachable++
	}
	t.count(target.failure, target.items, stages.PublicURL(target.url))
	t.tell()
	return t.check()
}

// tell reports the progress of the asking; what was known before is no part of
// it. Rate and time left follow from it.
func (t *tally) tell() {
	t.env.Progress(int64(t.done), int64(t.asked), "pictures")
	now := time.Now()
	if t.done < t.asked && now.Sub(t.told) < metricsInterval {
		return
	}
	t.told = now
	metrics := map[string]any{"bytes": t.bytes, "failed": t.failed.total() - t.before.total()}
	for c, n := range t.failed {
		if n > t.before[c] {
			metrics["failed_"+string(c)] = n - t.before[c]
		}
	}
	t.env.Metrics(metrics)
}

// check is an error once it is certain that too many fail.
func (t *tally) check() error {
	failed := t.failed.total()
	switch {
	case failed > t.most:
		return fmt.Errorf("%d of %d pictures failed, and max_failed = %g allows %d: %s; for example %s%s",
			failed, t.total, t.share, t.most, t.failed, t.examples[t.failed.causes()[0]], t.remedy())
	case failed > 0 && failed == t.total:
		return fmt.Errorf("all %d pictures failed: %s; for example %s%s", failed, t.failed, t.examples[t.failed.causes()[0]], t.remedy())
	}
	return nil
}

// remedy says how to have failures asked for again that were taken for lasting,
// as those are that a network without names or with other certificates made.
func (t *tally) remedy() string {
	if lasting := t.failed.total() - t.passing.total(); lasting > 0 {
		return fmt.Sprintf("; %d of them are not asked for again but with retry_failed = %q", lasting, "all")
	}
	return ""
}

// report gives the numbers that are kept with the result, by which whoever runs
// the stage tells what failed, and warns with an example of each cause.
func (t *tally) report(p *plan) {
	if failed := t.failed.total(); failed > 0 {
		t.env.Log.Info().Msgf("%d of %d pictures failed: %s", failed, t.total, t.failed)
		var examples []string
		for _, c := range t.failed.causes() {
			examples = append(examples, t.examples[c])
		}
		t.env.Log.Warn().Msgf("pictures failed, for example %s", strings.Join(examples, "; "))
	}
	if t.unreachable > 0 {
		t.env.Log.Warn().Msgf("%d of %d URLs could not be asked: what is known of them stays", t.unreachable, t.asked)
	}
	count := func(name string, n int) { t.env.Count(name, float64(n)) }
	count("items", p.items)
	count("pictures", t.pictures)
	count("without_url", p.absent)
	count("reused", p.itemsThat[reuse])
	count("from_files", p.inFiles+p.itemsThat[readFile])
	count("downloaded", t.downloaded)
	count("not_modified", t.unchanged)
	count("not_revalidated", t.unreachable)
	t.env.Count("bytes", float64(t.bytes))
	byCause := func(name string, f failures) {
		count(name, f.total())
		for _, c := range f.causes() {
			count(name+"_"+string(c), f[c])
		}
	}
	byCause("retried", t.retried)
	byCause("failed", t.failed)
}
