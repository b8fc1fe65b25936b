package tiered

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memo"
)

// A row memo is shared as its list and the segments in it, so that a request
// moves many rows. Locally segments are merged, and the list changes; which rows
// are in it does not. So it is remembered which segments the list has taken in
// (state/rows/<key>): they are not fetched again, and a list that is sent takes
// their place.

// FetchRows adds the segments that remotes have of a row memo (see package memo;
// key is that of the list) to the local list. The caller holds a lease. The
// error is the context's or the local store's: what remotes lack is not known,
// which costs its computation.
func (c *Cache) FetchRows(ctx context.Context, key artifacts.Key) error {
	done, err := c.turns.take(ctx, key)
	if err != nil {
		return err
	}
	defer done()
	for _, r := range c.remotes {
		if err := r.fetchRows(ctx, key); err != nil {
			return fmt.Errorf("fetching the row memo %s: %w", key.Short(), err)
		}
	}
	return nil
}

func (r *member) fetchRows(ctx context.Context, key artifacts.Key) error {
	if !r.answers() {
		return nil
	}
	theirs, err := r.list(ctx, key)
	if err != nil {
		return ctx.Err()
	}
	taken, err := r.cache.taken(ctx, key)
	if err != nil {
		return err
	}
	if taken.all(theirs) {
		return nil
	}
	s, err := r.sight(ctx, key)
	if err != nil {
		return ctx.Err()
	}
	if !memo.IsList(s.Manifest.Request) {
		r.complainOfWrong(fmt.Sprintf("the list of rows %s", key), artifacts.ErrCorrupt)
		return nil
	}
	if err := r.cache.keep(ctx, theirs); err != nil {
		return err
	}
	return r.takeIn(ctx, key, s.Manifest, taken)
}

// list are the segments that the remote lists, with one request. A remote that
// has no usable list has none.
func (r *member) list(ctx context.Context, key artifacts.Key) ([]artifacts.OutputFile, error) {
	encoded, err := r.Store.GetAction(ctx, key)
	if errors.Is(err, artifacts.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		r.failedRead(fmt.Sprintf("the list of rows %s", key), err)
		return nil, err
	}
	return segments(encoded), nil
}

// segments are those that the action of a list names.
func segments(encoded []byte) []artifacts.OutputFile {
	action, err := artifacts.DecodeActionResult(encoded)
	if err != nil {
		return nil
	}
	return outputs(action.OutputFiles)
}

// takeIn fetches the segments that are not taken in and adds them to the local
// list. One that does not come is left out; the next run asks for it again.
func (r *member) takeIn(ctx context.Context, key artifacts.Key, list artifacts.Manifest, taken *taken) error {
	var came []artifacts.Output
	for _, s := range memo.Segments(list) {
		if taken.has(s.Digest) {
			continue
		}
		file := artifacts.OutputFile{Path: "a segment", Digest: s.Digest, Bytes: s.Bytes}
		err := r.bringAll(ctx, key, []artifacts.OutputFile{file}, &meter{})
		if err != nil && !isMiss(err) {
			return err
		}
		if err == nil {
			came = append(came, s)
		}
	}
	if len(came) == 0 {
		return nil
	}
	if err := memo.Merge(ctx, r.cache.local, memo.Relist(list, came)); err != nil {
		return err
	}
	taken.add(came...)
	return nil
}

// ShareRows sends a row memo of the local store to the remotes, as Share sends a
// result.
func (c *Cache) ShareRows(key artifacts.Key) {
	action, err := c.local.GetAction(context.Background(), key)
	if err != nil {
		return
	}
	for _, r := range c.remotes {
		r.offer(job{key: key, rows: true}, action)
	}
}

// listTries is how often a list is read and replaced when others do the same.
const listTries = 4

// sendRows makes the remote's list name what the local one does, beside what
// others have added meanwhile. There is no way to replace a list only if it is
// the one that was read, so it is looked at again afterwards; what is lost in
// spite of that comes with the next time that its owner shares.
func (r *member) sendRows(ctx context.Context, key artifacts.Key, entry *outboxEntry, sent *sending) error {
	mine, err := artifacts.LookupRecord(ctx, r.cache.local, key)
	if isMiss(err) {
		return errGone
	}
	if err != nil {
		return err
	}
	taken, err := r.cache.taken(ctx, key)
	if err != nil {
		return err
	}
	taken.add(memo.Segments(mine.Manifest)...)
	l := &listing{member: r, key: key, mine: mine.Manifest, taken: taken, entry: entry, sent: sent}
	for range listTries {
		if done, err := l.write(ctx); err != nil {
			return err
		} else if done {
			break
		}
	}
	r.known.add(key, mine.Action)
	r.healed(key)
	return nil
}

// A listing is the remote's list on its way to name what the local one does.
type listing struct {
	*member
	key     artifacts.Key
	mine    artifacts.Manifest
	taken   *taken
	entry   *outboxEntry
	sent    *sending
	written []byte // the action that was written last
}

// write writes the list once, unless the remote has it.
func (l *listing) write(ctx context.Context) (done bool, err error) {
	action, err := l.Store.GetAction(ctx, l.key)
	if err != nil && !isBroken(err) {
		return false, err
	}
	if l.written != nil && bytes.Equal(action, l.written) {
		return true, nil
	}
	theirs := segments(action)
	union, err := l.union(ctx, theirs)
	if err != nil {
		return false, err
	}
	missing := l.missing(theirs)
	if !l.entry.broken && len(missing) == 0 && len(union.Outputs) == len(theirs) {
		return true, l.recheck(ctx)
	}
	record, err := l.cache.pack(union)
	if err != nil {
		return false, err
	}
	if err := l.sendBlobs(ctx, missing, l.entry.wrong, l.sent); err != nil {
		return false, err
	}
	l.written = record.Action
	return false, l.sendNames(ctx, l.key, record, true, l.sent)
}

// recheck sends what the remote lists of ours and no longer has, for who wants to
// know.
func (l *listing) recheck(ctx context.Context) error {
	if !l.cache.opts.Recheck {
		return nil
	}
	return l.sendBlobs(ctx, l.own(), nil, l.sent)
}

// own are the segments of ours.
func (l *listing) own() map[artifacts.Digest]int64 {
	own := map[artifacts.Digest]int64{}
	for _, s := range memo.Segments(l.mine) {
		own[s.Digest] = s.Bytes
	}
	return own
}

// missing are the segments of ours that the remote does not list. Of a broken list
// that is all of them: what it lists may be absent.
func (l *listing) missing(theirs []artifacts.OutputFile) map[artifacts.Digest]int64 {
	missing := l.own()
	if !l.entry.broken {
		for _, f := range theirs {
			delete(missing, f.Digest)
		}
	}
	return missing
}

// union is the list that is to be at the remote: what it has and we have not
// taken in, and behind that what we have.
func (l *listing) union(ctx context.Context, theirs []artifacts.OutputFile) (artifacts.Manifest, error) {
	if !slices.ContainsFunc(theirs, func(f artifacts.OutputFile) bool { return l.isOthers(f.Digest) }) {
		return l.mine, nil
	}
	standing, err := artifacts.LookupRecord(ctx, l.Store, l.key)
	if isBroken(err) || err == nil && l.believed(l.key, standing) != nil {
		l.entry.broken = true
		return l.mine, nil
	}
	if err != nil {
		return l.mine, err
	}
	var all []artifacts.Output
	for _, s := range memo.Segments(standing.Manifest) {
		if l.isOthers(s.Digest) {
			all = append(all, s)
		}
	}
	return memo.Relist(l.mine, append(all, memo.Segments(l.mine)...)), nil
}

func (l *listing) isOthers(d artifacts.Digest) bool { return !l.taken.has(d) && !l.entry.wrong[d] }

// pack is the record of a manifest that is made here, signed if that is wanted.
func (c *Cache) pack(manifest artifacts.Manifest) (artifacts.Record, error) {
	encoded, err := manifest.Encode()
	if err != nil {
		return artifacts.Record{}, err
	}
	record := artifacts.Record{Manifest: manifest, Encoded: encoded}
	record.Files = []artifacts.OutputFile{fileOf(artifacts.ManifestPath, encoded)}
	for _, name := range slices.Sorted(maps.Keys(manifest.Outputs)) {
		s := manifest.Outputs[name]
		record.Files = append(record.Files, artifacts.OutputFile{Path: name, Digest: s.Digest, Bytes: s.Bytes})
	}
	if c.opts.Signer != nil {
		record.Signature = c.opts.Signer.Sign(artifacts.DigestOf(encoded))
		record.Files = append(record.Files, fileOf(artifacts.SignaturePath, record.Signature))
	}
	record.Action = artifacts.ActionResult{OutputFiles: record.Files}.Encode()
	return record, nil
}

func fileOf(path string, content []byte) artifacts.OutputFile {
	return artifacts.OutputFile{Path: path, Digest: artifacts.DigestOf(content), Bytes: int64(len(content))}
}

// taken are the segments whose rows the local list has.
type taken struct {
	path     string
	segments map[artifacts.Digest]bool
	noted    map[artifacts.Digest]bool // those of them that the file has
}

// mostTaken is how many lines of a file of these are read, the last ones.
const mostTaken = 10_000

// taken reads what the local list has taken in. Without a local list, which gc
// may have removed, that is nothing.
func (c *Cache) taken(ctx context.Context, key artifacts.Key) (*taken, error) {
	t := &taken{path: filepath.Join(c.local.StateDir(), "rows", string(key)), segments: map[artifacts.Digest]bool{}, noted: map[artifacts.Digest]bool{}}
	encoded, err := c.local.GetAction(ctx, key)
	if errors.Is(err, artifacts.ErrNotFound) {
		_ = os.Remove(t.path)
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range segments(encoded) {
		t.segments[f.Digest] = true
	}
	f, err := os.Open(t.path)
	if err != nil {
		return t, nil // what cannot be read is fetched again
	}
	defer f.Close()
	var digests []artifacts.Digest
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if d, err := artifacts.ParseDigest(lines.Text()); err == nil {
			digests = append(digests, d)
		}
	}
	for _, d := range digests[max(0, len(digests)-mostTaken):] {
		t.segments[d], t.noted[d] = true, true
	}
	return t, nil
}

func (t *taken) has(d artifacts.Digest) bool { return t.segments[d] }

func (t *taken) all(files []artifacts.OutputFile) bool {
	for _, f := range files {
		if !t.has(f.Digest) {
			return false
		}
	}
	return true
}

// add remembers segments.
func (t *taken) add(segments ...artifacts.Output) {
	var lines strings.Builder
	for _, s := range segments {
		if !t.noted[s.Digest] {
			lines.WriteString(string(s.Digest) + "\n")
		}
		t.segments[s.Digest], t.noted[s.Digest] = true, true
	}
	if lines.Len() > 0 {
		_ = appendTo(t.path, lines.String()) // what is not remembered is fetched again
	}
}
