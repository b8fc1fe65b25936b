package training

import (
	"fmt"
	"math"
	"time"
)

// Progress is how far a training is.
type Progress struct {
	Epoch, Epochs  int // the one in progress, from 1, of at most
	Step, Steps    int // done in this epoch
	Loss           float64
	UsersPerSecond float64 // examples, which are users unless they are prefixes
	Finished       *Epoch  // set once an epoch is over
}

// Epoch is one finished epoch. Losses are means over the targets.
type Epoch struct {
	Epoch          int      `json:"epoch"` // from 1
	Steps          int64    `json:"steps"` // batches since the start
	Loss           float64  `json:"loss"`  // the sum of the others
	Recommendation float64  `json:"recommendation"`
	Interaction    float64  `json:"interaction"` // weighted PRISM losses
	Own            float64  `json:"own"`         // weighted losses that the backbone brings
	LearningRate   float64  `json:"learning_rate"`
	Value          *float64 `json:"value"` // of Config.Monitor; nil when there was no validation
	Best           bool     `json:"best"`  // best so far
}

// record is the losses of an epoch's steps so far, as read from the device.
type record []float32

func (r record) at(step, column int) float64 { return float64(r[step*recordColumns+column]) }

// total is a step's loss.
func (r record) total(step int) float64 {
	return r.at(step, recommendationColumn) + r.at(step, interactionColumn) + r.at(step, ownColumn)
}

// check reports a record that no epoch of these steps has left, one with losses
// that are not finite among them: means of it could not be told or kept.
func (r record) check(steps int) error {
	if len(r) != steps*recordColumns {
		return fmt.Errorf("%d losses of %d steps: want %d", len(r), steps, steps*recordColumns)
	}
	for step := range steps {
		if !finite(r.total(step)) || !(r.at(step, targetsColumn) >= 1) {
			return fmt.Errorf("step %d of %v targets has the loss %v", step+1, r.at(step, targetsColumn), r.total(step))
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// mean is a column's mean over the targets of the first steps.
func (r record) mean(column, steps int) float64 {
	sum, targets := 0.0, 0.0
	for step := range steps {
		n := r.at(step, targetsColumn)
		sum += r.at(step, column) * n
		targets += n
	}
	return sum / targets
}

func (r record) meanTotal(steps int) float64 {
	return r.mean(recommendationColumn, steps) + r.mean(interactionColumn, steps) + r.mean(ownColumn, steps)
}

// pace measures how fast an epoch goes.
type pace struct {
	begun    time.Time
	examples int // since then
}

func (p *pace) perSecond() float64 { return float64(p.examples) / time.Since(p.begun).Seconds() }
