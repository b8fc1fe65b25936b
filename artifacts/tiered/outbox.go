package tiered

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// An outbox is a directory with a file for each job that is not done, so that
// what one process could not send the next one does. The file is locked while
// somebody is at it. In it is what is known to be wrong at the remote.
type outbox struct{ dir string }

// A job is a result, or a list of rows, that is to be sent.
type job struct {
	key  artifacts.Key
	rows bool
}

const rowsSuffix = ".rows"

func (j job) file() string {
	if j.rows {
		return string(j.key) + rowsSuffix
	}
	return string(j.key)
}

func parseJob(file string) (job, error) {
	name, rows := strings.CutSuffix(file, rowsSuffix)
	key, err := artifacts.ParseKey(name)
	return job{key, rows}, err
}

const (
	mostWaiting = 10_000              // jobs that are taken up by a later process
	waitFor     = 30 * 24 * time.Hour // until it is no longer tried
)

const replaceLine = "replace"

// put notes a job, and what it is to replace.
func (b outbox) put(j job, wrong map[artifacts.Digest]bool, broken bool) error {
	lines := ""
	if broken {
		lines = replaceLine + "\n"
		for d := range wrong {
			lines += string(d) + "\n"
		}
	}
	return appendTo(filepath.Join(b.dir, j.file()), lines)
}

// take makes a job this process's; nil when another one is at it.
func (b outbox) take(j job) (entry *outboxEntry, err error) {
	if err := groupmode.MkdirAll(b.dir); err != nil {
		return nil, err
	}
	f, err := disk.HoldFile(filepath.Join(b.dir, j.file()))
	if f == nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	e := &outboxEntry{file: f, wrong: map[artifacts.Digest]bool{}}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		e.broken = e.broken || line == replaceLine
		if d, err := artifacts.ParseDigest(line); err == nil {
			e.wrong[d] = true
		}
	}
	return e, nil
}

// An outboxEntry is a job that this process has taken.
type outboxEntry struct {
	file   *os.File
	broken bool
	wrong  map[artifacts.Digest]bool
}

// close ends the turn at the job. One that is done leaves the outbox.
func (e *outboxEntry) close(done bool) {
	if done {
		_ = os.Remove(e.file.Name()) // else it is sent, and found to be there, once more
	}
	e.file.Close()
}

// waiting are the jobs that earlier processes left. Those that are old, or too
// many, are removed.
func (b outbox) waiting(now time.Time) []job {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil
	}
	type dated struct {
		job
		noted time.Time
	}
	var found []dated
	for _, entry := range entries {
		j, err := parseJob(entry.Name())
		info, gone := entry.Info()
		if err == nil && gone == nil {
			found = append(found, dated{j, info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b dated) int { return b.noted.Compare(a.noted) }) // the newest first
	var jobs []job
	for _, d := range found {
		if len(jobs) == mostWaiting || now.Sub(d.noted) > waitFor {
			_ = os.Remove(filepath.Join(b.dir, d.file()))
			continue
		}
		jobs = append(jobs, d.job)
	}
	return jobs
}
