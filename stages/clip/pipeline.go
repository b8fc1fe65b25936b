package clip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/stages"
)

// A pipeline makes the vectors that a plan waits for. Pictures are decoded and
// texts tokenised on the cores, into a few batches whose memory is used again,
// while the encoder is at an earlier batch. What it made is remembered at once,
// so that whatever ends the run costs the batches that were on their way.
type pipeline struct {
	stage   *Embed
	env     *stages.Env
	model   model
	plan    *plan
	encoder encoder
	rows    [modalities]int // of a batch
	fits    [modalities]int // rows that the device has room for, as far as is known
	workers int

	work  chan *batch
	watch watch
	told  int // failures that were logged one by one
}

// batchesInFlight are one that is encoded, one that waits, and one that fills.
const batchesInFlight = 3

// embed makes all vectors that the plan waits for.
func (e *Embed) embed(ctx context.Context, env *stages.Env, model model, plan *plan) (err error) {
	open := e.open
	if open == nil {
		open = openTorch
	}
	encoder, err := open(ctx, env, e, model)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, encoder.close()) }()
	p := &pipeline{
		stage: e, env: env, model: model, plan: plan, encoder: encoder, workers: e.Workers.Value,
		work: make(chan *batch, modalities*batchesInFlight),
	}
	if p.workers == 0 {
		p.workers = runtime.GOMAXPROCS(0)
	}
	p.rows[image] = model.batchRows(image, e.ImageBatch.Value, encoder.cuda())
	p.rows[text] = model.batchRows(text, e.TextBatch.Value, encoder.cuda())
	p.fits = p.rows
	if err := p.run(ctx); err != nil {
		return err
	}
	return p.verdict()
}

func (p *pipeline) run(ctx context.Context) error {
	p.watch.start()
	p.env.Progress(p.plan.done, int64(len(p.plan.items)), "items")
	all := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	all.Go(func(ctx context.Context) error {
		defer close(p.work)
		feeders := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
		feeders.Go(p.pictures)
		feeders.Go(p.texts)
		return feeders.Wait()
	})
	all.Go(p.encode)
	err := all.Wait()
	p.watch.tell(p.env, p.plan)
	return err
}

// send hands a batch to the encoder.
func (p *pipeline) send(ctx context.Context, b *batch) error {
	select {
	case p.work <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encode is the one that drives the device.
func (p *pipeline) encode(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, more := <-p.work:
			if !more {
				return nil
			}
			if err := p.finish(ctx, b); err != nil {
				return err
			}
			b.recycle()
		}
	}
}

// finish encodes a batch and remembers what came out, in pieces of as many rows
// as the device has room for.
func (p *pipeline) finish(ctx context.Context, b *batch) error {
	for from := 0; from < len(b.keys); {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows := min(p.fits[b.modality], len(b.keys)-from)
		vectors, err := p.vectors(b, from, from+rows)
		if errors.Is(err, errOutOfMemory) && rows > leastRows {
			p.fits[b.modality] = max(rows/2, leastRows)
			p.env.Log.Warn().Int("rows", p.fits[b.modality]).Msg("the device has not enough memory for a batch: going on with smaller ones")
			continue
		}
		if err != nil {
			return fmt.Errorf("embedding %d %ss: %w", rows, b.modality, err)
		}
		if err := p.remember(b, from, from+rows, vectors); err != nil {
			return err
		}
		from += rows
	}
	p.watch.tellAtTimes(p.env, p.plan)
	return nil
}

// vectors has the device make the vectors of the rows [from, to), if there is
// one among them that can be made.
func (p *pipeline) vectors(b *batch, from, to int) ([]float32, error) {
	if !slices.Contains(b.failures[from:to], nil) {
		return nil, nil
	}
	began := time.Now()
	defer func() { p.watch.busy += time.Since(began) }()
	return b.encode(p.encoder, from, to, p.model.width())
}

// remember keeps the vectors of the rows [from, to) of a batch.
func (p *pipeline) remember(b *batch, from, to int, vectors []float32) error {
	width, side := p.model.width(), &p.plan.sides[b.modality]
	for i := from; i < to; i++ {
		key, failure := b.keys[i], b.failures[i]
		if failure == nil {
			value, err := encodeVector(vectors[(i-from)*width : (i-from+1)*width])
			if err != nil {
				return fmt.Errorf("the %s of item %.60q: %w", b.modality, p.plan.first(b.modality, key), err)
			}
			if err := side.memo.Put(key, value); err != nil {
				return fmt.Errorf("remembering a vector: %w", err)
			}
		}
		p.tellFailure(b.modality, key, failure)
		p.plan.settle(b.modality, key, failure)
	}
	p.env.Progress(p.plan.done, int64(len(p.plan.items)), "items")
	return nil
}

// encodeVector is a vector of length one as memos hold it.
func encodeVector(vector []float32) ([]byte, error) {
	sum := 0.0
	for _, x := range vector {
		sum += float64(x) * float64(x)
	}
	length := math.Sqrt(sum)
	if length == 0 || math.IsNaN(length) || math.IsInf(length, 0) {
		return nil, fmt.Errorf("the model makes a vector of length %v of it; fp16 may be too narrow for this model", length)
	}
	value := make([]byte, 0, 4*len(vector))
	for _, x := range vector {
		value = binary.LittleEndian.AppendUint32(value, math.Float32bits(float32(float64(x)/length)))
	}
	return value, nil
}

// decodeVector is false for what encodeVector has not made.
func decodeVector(value []byte, width int) ([]float32, bool) {
	if len(value) != 4*width {
		return nil, false
	}
	vector := make([]float32, width)
	for i := range vector {
		vector[i] = math.Float32frombits(binary.LittleEndian.Uint32(value[4*i:]))
	}
	return vector, true
}

// A watch knows how fast it goes and how busy the device is.
type watch struct {
	began, told time.Time
	busy        time.Duration
}

// tellEvery is how often values are told that a person watches.
const tellEvery = time.Second

func (w *watch) start() { w.began = time.Now(); w.told = w.began }

func (w *watch) tellAtTimes(env *stages.Env, p *plan) {
	if time.Since(w.told) >= tellEvery {
		w.tell(env, p)
	}
}

func (w *watch) tell(env *stages.Env, p *plan) {
	w.told = time.Now()
	seconds := w.told.Sub(w.began).Seconds()
	env.Metrics(map[string]any{
		"images_embedded": p.sides[image].made, "images_per_second": float64(p.sides[image].made) / seconds,
		"texts_embedded": p.sides[text].made, "texts_per_second": float64(p.sides[text].made) / seconds,
		"device_busy": w.busy.Seconds() / seconds,
	})
}
