package training

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prismflow/prismflow/model/gotorch"
)

// A pass is one epoch in progress.
type pass struct {
	trainer *trainer
	feed    *feed
	number  int // of the epoch, from 1
	done    int // steps
	checked int // steps whose losses were found finite
	intents []int32
	pace    pace
	saved   time.Time // when the last checkpoint was written
}

// epoch goes over all examples once. Order and partners follow from seed and
// epoch, and the session's generator is seeded by them at its beginning.
func (t *trainer) epoch(ctx context.Context) error {
	p, err := t.begin(ctx)
	if err != nil {
		return err
	}
	for p.done < p.feed.steps() {
		if err := p.some(ctx); err != nil {
			return err
		}
	}
	return p.end(ctx)
}

// begin starts an epoch, or goes on within one where a checkpoint was taken.
func (t *trainer) begin(ctx context.Context) (*pass, error) {
	number := len(t.history) + 1
	random := rand.New(rand.NewPCG(uint64(t.config.Seed), uint64(number)))
	seed := random.Uint64()
	p := &pass{trainer: t, number: number, feed: t.newFeed(random)}
	if err := t.session.Generator().Seed(seed); err != nil {
		return nil, err
	}
	p.pace.begun, p.saved = time.Now(), time.Now()
	if m := t.middle; m != nil {
		t.middle = nil
		p.feed.partners = partners(m.intents, p.feed.order, random)
		return p, p.goOn(m)
	}
	intents, err := t.findIntents(ctx)
	if err != nil {
		return nil, fmt.Errorf("epoch %d: %w", number, err)
	}
	p.intents = intents
	p.feed.partners = partners(intents, p.feed.order, random)
	return p, nil
}

// some runs the steps that travel to the device together.
func (p *pass) some(ctx context.Context) (err error) {
	t := p.trainer
	shapes, words, err := p.feed.lay(p.done)
	if err != nil {
		return fmt.Errorf("epoch %d: %w", p.number, err)
	}
	t.session.Scoped(func() {
		all, next := t.session.FromInt64(words), 0
		for _, shape := range shapes {
			if err = ctx.Err(); err != nil {
				err = fmt.Errorf("epoch %d: %w", p.number, err)
				return
			}
			p.step(shape, all.Narrow(0, int64(next), int64(shape.words())))
			next += shape.words()
			if err = p.report(); err != nil {
				return
			}
		}
	})
	return err
}

// step makes the next step.
func (p *pass) step(shape stepShape, words *gotorch.Tensor) {
	t := p.trainer
	part := p.part()
	if part.last {
		t.adam.SetLearningRate(p.rate())
	}
	t.compute(shape, words, part)
	p.pace.examples += len(p.feed.examples(p.done, p.done+1))
	p.done++
}

// part says where in an optimizer step the next batch stands, and weighs it by
// its targets, so that the gradient is that of the mean over all of the step's.
// What is left over at the end of an epoch is an optimizer step, too.
func (p *pass) part() part {
	n := p.trainer.config.AccumulateSteps
	first := p.done / n * n
	end := min(first+n, p.feed.steps())
	own, all := p.feed.targets(p.done, p.done+1), p.feed.targets(first, end)
	return part{first: p.done == first, last: p.done == end-1, scale: float64(own) / float64(all)}
}

// rate is the learning rate of the next optimizer step.
func (p *pass) rate() float64 {
	c := p.trainer.config
	perEpoch := (p.feed.steps() + c.AccumulateSteps - 1) / c.AccumulateSteps
	return c.rate((p.number-1)*perEpoch+p.done/c.AccumulateSteps, c.Epochs*perEpoch)
}

// readEvery is after how many steps losses are read from a device that works on
// its own; on the CPU nothing is gained by waiting.
const readEvery = 50

// report reads the losses, stops when one is not finite, tells how far it is,
// and writes a checkpoint when it is time.
func (p *pass) report() error {
	t := p.trainer
	if t.session.Device().Type != gotorch.CPU && p.done%readEvery != 0 && p.done < p.feed.steps() {
		return nil
	}
	record := t.readLosses(p.done)
	if err := p.check(record); err != nil {
		return err
	}
	t.tell(Progress{
		Epoch: p.number, Epochs: t.config.Epochs, Step: p.done, Steps: p.feed.steps(),
		Loss: record.meanTotal(p.done), UsersPerSecond: p.pace.perSecond(),
	})
	if every := t.options.CheckpointEvery; every > 0 && p.done < p.feed.steps() && p.done%t.config.AccumulateSteps == 0 && time.Since(p.saved) >= every {
		p.saved = time.Now()
		return t.save(p)
	}
	return nil
}

func (t *trainer) readLosses(steps int) (r record) {
	t.session.Scoped(func() { r = t.losses.Narrow(0, 0, int64(steps)).Float32s() })
	return r
}

func (t *trainer) tell(p Progress) {
	if t.options.Progress != nil {
		t.options.Progress(p)
	}
}

// ErrDiverged is wrapped when a loss, or a parameter at the end of an epoch, is
// infinite or not a number.
var ErrDiverged = errors.New("the training has diverged")

// check looks at the steps that were not looked at yet.
func (p *pass) check(r record) error {
	for ; p.checked < p.done; p.checked++ {
		if !finite(r.total(p.checked)) {
			return p.diverged(p.checked, r)
		}
	}
	return nil
}

// diverged is the error of a step, from 0, with the first tensor that is not
// finite.
func (p *pass) diverged(step int, r record) error {
	tensor := p.trainer.notFinite()
	if tensor != "" {
		tensor += " is not finite, "
	}
	return fmt.Errorf("epoch %d, step %d of %d: %w: %slosses: recommendation %v, interaction %v, the backbone's own %v; a lower learning_rate or a clip_norm often helps",
		p.number, step+1, p.feed.steps(), ErrDiverged, tensor,
		r.at(step, recommendationColumn), r.at(step, interactionColumn), r.at(step, ownColumn))
}

// notFinite names the first tensor that has a value which is not finite: of the
// parameters in their order, then of their gradients, which a graph's step leaves
// undefined. Empty when there is none.
func (t *trainer) notFinite() (name string) {
	t.session.Scoped(func() {
		t.session.NoGrad(func() {
			for _, p := range t.parameters {
				if !allFinite(p.Tensor) {
					name = "parameter " + p.Name
					return
				}
			}
			for _, p := range t.parameters {
				if gradient := p.Tensor.Grad(); len(t.graphs) == 0 && gradient != nil && !allFinite(gradient) {
					name = "gradient of " + p.Name
					return
				}
			}
		})
	})
	return name
}

// allFinite reports whether no value is infinite or not a number: x-x is 0 for
// the others alone.
func allFinite(t *gotorch.Tensor) bool { return t.Sub(t).Eq(0).All().Item() != 0 }

// end closes the epoch and judges it. What the last step did to the parameters
// no loss of the epoch has seen.
func (p *pass) end(ctx context.Context) error {
	t, steps := p.trainer, p.feed.steps()
	record := t.readLosses(steps)
	if t.notFinite() != "" {
		return p.diverged(steps-1, record)
	}
	e := Epoch{
		Epoch: p.number, Steps: int64(steps) * int64(p.number), LearningRate: t.adam.LearningRate(),
		Loss: record.meanTotal(steps), Recommendation: record.mean(recommendationColumn, steps),
		Interaction: record.mean(interactionColumn, steps), Own: record.mean(ownColumn, steps),
	}
	if err := t.judge(ctx, &e); err != nil {
		return err
	}
	t.history = append(t.history, e)
	t.tell(Progress{
		Epoch: p.number, Epochs: t.config.Epochs, Step: steps, Steps: steps,
		Loss: e.Loss, UsersPerSecond: p.pace.perSecond(), Finished: &e,
	})
	return nil
}
