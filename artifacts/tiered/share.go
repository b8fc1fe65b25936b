package tiered

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// sendersAtOnce is how many results are sent to one remote side by side; the
// remote's own limit is on all of its requests.
const sendersAtOnce = 4

// Share sends a result of the local store to the remotes, after it the row memos
// behind it, when their policy says so. It returns at once. What a remote is
// remembered to have costs nothing, so that it may be called for every result
// that a run uses.
func (c *Cache) Share(key artifacts.Key) {
	ctx := context.Background()
	action, err := c.local.GetAction(ctx, key)
	if err != nil {
		return // there is nothing to share
	}
	var memos []artifacts.Key
	for _, r := range c.remotes {
		if !r.offer(job{key: key}, action) || memos != nil {
			continue
		}
		if manifest, err := artifacts.LookupManifest(ctx, c.local, key); err == nil {
			memos = manifest.Memos
		}
	}
	for _, memo := range memos {
		c.ShareRows(memo)
	}
}

// offer takes up a job unless the remote is known to have its action.
func (r *member) offer(j job, action []byte) (taken bool) {
	if !r.wants() {
		return false
	}
	r.takeUp()
	if _, broken := r.damage(j.key); !broken && !r.cache.opts.Recheck && r.known.has(j.key, action) {
		return false
	}
	if r.Upload == OnSuccess {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held = append(r.held, j)
		return true
	}
	r.enqueue(j)
	return true
}

// takeUp enqueues what earlier processes left, the first time.
func (r *member) takeUp() {
	r.mu.Lock()
	again := r.resumed
	r.resumed = true
	r.mu.Unlock()
	if again {
		return
	}
	for _, j := range r.box.waiting(r.cache.opts.Now()) {
		r.enqueue(j)
	}
}

// enqueue notes a job and has it done by a sender, in the background.
func (r *member) enqueue(j job) {
	wrong, broken := r.damage(j.key)
	if err := r.box.put(j, wrong, broken); err != nil {
		r.complain("outbox", "what is not sent in this run will be forgotten: %v", err)
	}
	size := r.cache.size(j)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.queued[j]; known || r.ended {
		return
	}
	r.queued[j] = size
	r.queue = append(r.queue, j)
	r.cache.moved(0, size)
	if r.working < sendersAtOnce {
		r.working++
		r.senders.Go(r.work)
	}
}

// size is how many bytes a job has to send at most.
func (c *Cache) size(j job) (bytes int64) {
	encoded, err := c.local.GetAction(context.Background(), j.key)
	if err != nil {
		return 0
	}
	action, _ := artifacts.DecodeActionResult(encoded) // one that cannot be read is dropped when it is sent
	for _, f := range action.OutputFiles {
		bytes += f.Bytes
	}
	return bytes
}

// endOfRun takes up what waited for it, and nothing after that.
func (r *member) endOfRun(succeeded bool) {
	r.mu.Lock()
	held := r.held
	r.held = nil
	r.mu.Unlock()
	if succeeded {
		for _, j := range held {
			r.enqueue(j)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// work does jobs until none is left.
func (r *member) work() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.working--
			r.mu.Unlock()
			return
		}
		j := r.queue[0]
		r.queue = r.queue[1:]
		size := r.queued[j]
		r.mu.Unlock()
		sent := r.cache.sending()
		r.do(j, sent)
		sent.end(size)
		r.mu.Lock()
		delete(r.queued, j)
		r.mu.Unlock()
	}
}

// errGone says that what was to be sent is no longer in the local store.
var errGone = errors.New("it is no longer in the cache")

// do does a job, or leaves it in the outbox.
func (r *member) do(j job, sent *sending) {
	if !r.takes() || r.cache.uploads.Err() != nil {
		r.unsent(j)
		return
	}
	if _, err := r.cache.leased(r.cache.uploads); err != nil {
		r.complain("lease", "what is sent is not protected from a gc: %v", err)
	}
	entry, err := r.box.take(j)
	if err != nil {
		r.complain("outbox", "%v", err)
		entry = &outboxEntry{}
	}
	if entry == nil {
		return // another process is at it
	}
	if wrong, broken := r.damage(j.key); broken {
		entry.broken = true
		entry.wrong = wrong
	}
	send := r.sendResult
	if j.rows {
		send = r.sendRows
	}
	err = send(r.cache.uploads, j.key, entry, sent)
	if errors.Is(err, errGone) {
		err = nil
	}
	if entry.file != nil {
		entry.close(err == nil)
	}
	if err == nil {
		return
	}
	r.unsent(j)
	if r.cache.uploads.Err() == nil {
		r.failedWrite(fmt.Sprintf("the result %s", j.key), err)
	}
}

func (r *member) unsent(j job) {
	if !j.rows {
		r.cache.count(func(r *Report) { r.Failed++ })
	}
}

// sendResult sends a result unless the remote has one that is as good.
func (r *member) sendResult(ctx context.Context, key artifacts.Key, entry *outboxEntry, sent *sending) error {
	mine, err := artifacts.LookupRecord(ctx, r.cache.local, key)
	if isMiss(err) {
		return errGone
	}
	if err != nil {
		return err
	}
	send, replace, err := r.compare(ctx, key, mine, entry.broken)
	if err != nil {
		return err
	}
	if send {
		if err := r.sendRecord(ctx, key, mine, entry.wrong, replace, sent); err != nil {
			return err
		}
		r.cache.count(func(r *Report) { r.Uploaded++ })
	}
	r.known.add(key, mine.Action)
	r.healed(key)
	return nil
}

// compare says whether a result is to be sent to the remote, and whether in place
// of what it has under the key. Of two results the first one published stays,
// unless it is of no use, incomplete and the other is not, or unsigned and the
// other says the same and is. One that is only not trusted here gives way to what
// is signed alone: others may trust it.
func (r *member) compare(ctx context.Context, key artifacts.Key, mine artifacts.Record, broken bool) (send, replace bool, err error) {
	if broken {
		return true, true, nil
	}
	action, err := r.Store.GetAction(ctx, key)
	switch {
	case errors.Is(err, artifacts.ErrNotFound):
		return true, false, nil
	case err != nil && !isBroken(err):
		return false, false, err
	case bytes.Equal(action, mine.Action):
		return r.lacking(ctx, mine)
	}
	standing, err := artifacts.LookupRecord(ctx, r.Store, key)
	switch {
	case isBroken(err) || isAbsent(err) || err == nil && mine.Signature != nil && r.believed(key, standing) != nil:
		return true, true, nil
	case err != nil:
		return false, false, err
	}
	if better(standing, mine) {
		return true, true, nil
	}
	return r.lacking(ctx, standing)
}

// better says whether a result is to take the place of one that stands.
func better(standing, mine artifacts.Record) bool {
	return standing.Manifest.Incomplete != "" && mine.Manifest.Incomplete == "" ||
		standing.Signature == nil && mine.Signature != nil && sameOutputs(standing.Manifest, mine.Manifest)
}

// lacking says, to who rechecks, whether the result that stands at the remote lacks
// a blob, so that ours is to be sent in its place. A remote that collects by age
// loses blobs, which are older, before the action that names them.
func (r *member) lacking(ctx context.Context, standing artifacts.Record) (send, replace bool, err error) {
	if !r.cache.opts.Recheck {
		return false, false, nil
	}
	for _, f := range standing.Files {
		size, err := r.Store.Stat(ctx, f.Digest)
		switch {
		case isBroken(err), err == nil && size != f.Bytes:
			return true, true, nil
		case err != nil:
			return false, false, err
		}
	}
	return false, false, nil
}

// sameOutputs says whether two executions came to the same result.
func sameOutputs(a, b artifacts.Manifest) bool {
	return maps.EqualFunc(a.Outputs, b.Outputs, func(x, y artifacts.Output) bool { return x.Digest == y.Digest })
}

// isAbsent says whether a look-up found nothing at all.
func isAbsent(err error) bool {
	var miss *artifacts.Miss
	return errors.As(err, &miss) && miss.Err == nil
}

// sendRecord sends the blobs of a result and then what names them.
func (r *member) sendRecord(ctx context.Context, key artifacts.Key, record artifacts.Record, wrong map[artifacts.Digest]bool, replace bool, sent *sending) error {
	blobs := map[artifacts.Digest]int64{}
	for _, f := range outputs(record.Files) {
		blobs[f.Digest] = f.Bytes
	}
	if err := r.sendBlobs(ctx, blobs, wrong, sent); err != nil {
		return err
	}
	return r.sendNames(ctx, key, record, replace, sent)
}

// outputs are the files of an action but the manifest and its signature.
func outputs(files []artifacts.OutputFile) (outputs []artifacts.OutputFile) {
	for _, f := range files {
		if f.Path != artifacts.ManifestPath && f.Path != artifacts.SignaturePath {
			outputs = append(outputs, f)
		}
	}
	return outputs
}

// sendNames sends the manifest of a result, then its signature, and the action
// last: whoever sees it finds all that it names. What is to be replaced may be
// wrong in any of them.
func (r *member) sendNames(ctx context.Context, key artifacts.Key, record artifacts.Record, replace bool, sent *sending) error {
	for _, small := range [][]byte{record.Encoded, record.Signature} {
		if small == nil {
			continue
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(small)), nil }
		content := remote.Content{Size: int64(len(small)), Open: open}
		if err := r.sendBlob(ctx, artifacts.DigestOf(small), content, replace, sent); err != nil {
			return err
		}
	}
	return r.Store.PutAction(ctx, key, record.Action, replace)
}

// sendBlobs sends blobs of the local store side by side.
func (r *member) sendBlobs(ctx context.Context, blobs map[artifacts.Digest]int64, wrong map[artifacts.Digest]bool, sent *sending) error {
	uploads := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(outputsAtOnce)
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		uploads.Go(func(ctx context.Context) error {
			path, err := r.cache.local.Verified(ctx, d)
			if errors.Is(err, artifacts.ErrNotFound) {
				return fmt.Errorf("blob %s: %w", d.Short(), errGone)
			}
			if err != nil {
				return err
			}
			open := func() (io.ReadCloser, error) { return os.Open(path) }
			return r.sendBlob(ctx, d, remote.Content{Size: blobs[d], Open: open}, wrong[d], sent)
		})
	}
	return uploads.Wait()
}

// sendBlob sends one blob unless it is there; one that is wrong there is replaced.
func (r *member) sendBlob(ctx context.Context, d artifacts.Digest, content remote.Content, wrong bool, sent *sending) error {
	upload := r.Store.Upload
	if wrong {
		upload = r.Store.Repair
	}
	_, err := upload(ctx, d, content, sent.part())
	return err
}

// A sending is the progress of one job.
type sending struct {
	cache *Cache
	meter meter
	told  int64 // of the meter; guarded by its mutex
}

func (c *Cache) sending() *sending {
	s := &sending{cache: c}
	s.meter.progress = func(done, _ int64) {
		c.moved(done-s.told, 0)
		s.told = done
	}
	return s
}

func (s *sending) part() remote.Progress { return s.meter.part() }

// end counts what of a job was there already, or is left to others.
func (s *sending) end(size int64) { s.cache.moved(size-s.told, 0) }
