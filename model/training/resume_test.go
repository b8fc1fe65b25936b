package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/safetensors"
)

func TestKilledTrainingResumesToTheSameResult(t *testing.T) {
	config := small()
	config.Epochs, config.Loss = 5, BCE
	data := withPictures(chains(100, 30))
	whole := train(t, data, config, Options{})

	dir := t.TempDir()
	ctx, kill := context.WithCancel(t.Context())
	_, err := Train(ctx, torchtest.Open(t), data, config, Options{Device: "cpu", Resume: dir, Progress: func(p Progress) {
		if p.Epoch == 3 && p.Step == 2 {
			kill()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled training gave %v", err)
	}
	resumed := train(t, data, config, Options{Resume: dir})
	if resumed.Resumed != 2*4 {
		t.Errorf("taken up after %d steps, want 2 epochs of 4", resumed.Resumed)
	}
	resumed.Resumed = 0
	if diff := cmp.Diff(whole, resumed); diff != "" {
		t.Errorf("resumed differs from uninterrupted:\n%s", diff)
	}
}

func TestTrainingResumesWithinAnEpoch(t *testing.T) {
	config := small()
	config.Epochs, config.Loss, config.AccumulateSteps = 4, BCE, 2
	resumesWithinAnEpoch(t, withPictures(chains(200, 30)), config, 7) // 4 steps of the optimizer

	config.Model.Backbone, config.Loss, config.Examples = backbone.InDiRecName, CE, Prefixes
	data := withPictures(chains(40, 30))
	resumesWithinAnEpoch(t, data, config, (len(newExamples(data.Users, 8, Prefixes))+31)/32)
}

func resumesWithinAnEpoch(t *testing.T, data Data, config Config, steps int) {
	t.Helper()
	whole := train(t, data, config, Options{})

	dir := t.TempDir()
	ctx, kill := context.WithCancel(t.Context())
	_, err := Train(ctx, torchtest.Open(t), data, config, Options{Device: "cpu", Resume: dir, CheckpointEvery: 1, Progress: func(p Progress) {
		if p.Epoch == 3 && p.Step == 6 {
			kill()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled training gave %v", err)
	}
	resumed := train(t, data, config, Options{Resume: dir})
	if want := 2*steps + 6; resumed.Resumed != want {
		t.Errorf("taken up after %d steps, want %d", resumed.Resumed, want)
	}
	resumed.Resumed = 0
	if diff := cmp.Diff(whole, resumed); diff != "" {
		t.Errorf("resumed differs from uninterrupted:\n%s", diff)
	}
}

// written is the checkpoint of a training that was stopped within its second
// epoch.
func written(t *testing.T, data Data, config Config) []byte {
	t.Helper()
	dir := t.TempDir()
	ctx, kill := context.WithCancel(t.Context())
	_, err := Train(ctx, torchtest.Open(t), data, config, Options{Device: "cpu", Resume: dir, CheckpointEvery: 1, Progress: func(p Progress) {
		if p.Epoch == 2 && p.Step == 5 {
			kill()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled training gave %v", err)
	}
	file, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// forged is a checkpoint with another state and other tensors, whose digest is
// right.
func forged(t *testing.T, checkpoint []byte, change func(*checkpointState, map[string]*safetensors.Tensor)) []byte {
	t.Helper()
	file, err := safetensors.Parse(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	var state checkpointState
	if err := json.Unmarshal([]byte(file.Metadata()[stateKey]), &state); err != nil {
		t.Fatal(err)
	}
	byName := map[string]*safetensors.Tensor{}
	for _, name := range file.Names() {
		tensor, err := file.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		byName[name] = &tensor
	}
	change(&state, byName)
	var tensors []safetensors.Tensor
	for _, tensor := range byName {
		tensors = append(tensors, *tensor)
	}
	state.Digest = digestOf(tensors)
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := safetensors.Write(&out, map[string]string{stateKey: string(text)}, tensors); err != nil {
		t.Fatal(err)
	}
	return []byte(out.String())
}

// TestBrokenCheckpointsAreNotUsed holds that none of them changes the result or
// is worse than none.
func TestBrokenCheckpointsAreNotUsed(t *testing.T) {
	config := small()
	config.Epochs, config.AccumulateSteps, config.BatchSize = 2, 2, 8
	config.Model.Backbone, config.Examples = backbone.InDiRecName, Prefixes
	data := chains(15, 30)
	whole := train(t, data, config, Options{})
	checkpoint := written(t, data, config)
	type tensors = map[string]*safetensors.Tensor
	losses := func(all tensors) *safetensors.Tensor { return all[lossesName] }
	for want, change := range map[string]func(*checkpointState, tensors){
		"other data":                     func(s *checkpointState, _ tensors) { s.Fingerprint = "" },
		"4000 steps are done in epoch 2": func(s *checkpointState, all tensors) { s.Done = 4000 },
		"-2 steps are done in epoch 2":   func(s *checkpointState, all tensors) { s.Done = -2 },
		"3 steps are done in epoch 2":    func(s *checkpointState, all tensors) { s.Done = 3 },
		"16 losses of 2 steps":           func(s *checkpointState, all tensors) { s.Done = 2 },
		"in one of 2 epochs":             func(s *checkpointState, _ tensors) { s.History = append(s.History, Epoch{Epoch: 2}) },
		"it is of 3 epochs":              func(s *checkpointState, _ tensors) { s.History = make([]Epoch, 3) },
		"its epoch 1 is numbered 7":      func(s *checkpointState, _ tensors) { s.History[0].Epoch = 7 },
		"it has a best epoch: false":     func(s *checkpointState, _ tensors) { s.History[0].Best = false },
		"it holds no step": func(s *checkpointState, all tensors) {
			*s = checkpointState{Fingerprint: s.Fingerprint}
			withoutBest(all)
		},
		"has the loss NaN":               func(_ *checkpointState, all tensors) { copy(losses(all).Data, "\xff\xff\xff\xff") },
		"step 1 of 0 targets":            func(_ *checkpointState, all tensors) { copy(losses(all).Data[4*targetsColumn:], "\x00\x00\x00\x00") },
		"no such tensor":                 func(_ *checkpointState, all tensors) { delete(all, lossesName) },
		"intents of 0 examples":          func(_ *checkpointState, all tensors) { delete(all, intentsName) },
		"example 0 has the intent -1":    func(_ *checkpointState, all tensors) { copy(all[intentsName].Data, "\xff\xff\xff\xff\xff\xff\xff\xff") },
		"example 0 has the intent 16777": func(_ *checkpointState, all tensors) { copy(all[intentsName].Data, "\xff\xff\xff\x00") },
		"random generator":               func(s *checkpointState, _ tensors) { s.Generator = []byte("no state") },
		"random generator: no bytes":     func(s *checkpointState, _ tensors) { s.Generator = nil },
		"importing parameters":           func(_ *checkpointState, all tensors) { delete(all, firstOf(all, parameterPrefix)) },
		"adam: state of":                 func(_ *checkpointState, all tensors) { delete(all, firstOf(all, firstPrefix)) },
		"second/":                        func(_ *checkpointState, all tensors) { delete(all, firstOf(all, secondPrefix)) },
		"is at step -5": func(s *checkpointState, all tensors) {
			s.Steps[strings.TrimPrefix(firstOf(all, firstPrefix), firstPrefix)] = -5
		},
	} {
		t.Run(want, func(t *testing.T) { notUsed(t, data, config, forged(t, checkpoint, change), want, whole) })
	}
	flipped := slices.Clone(checkpoint)
	flipped[len(flipped)-1] ^= 1
	for want, file := range map[string][]byte{
		"not those that were written": flipped,
		"safetensors":                 checkpoint[:len(checkpoint)/2],
		"too few":                     {},
	} {
		t.Run(want, func(t *testing.T) { notUsed(t, data, config, file, want, whole) })
	}
}

func withoutBest(all map[string]*safetensors.Tensor) {
	maps.DeleteFunc(all, func(name string, _ *safetensors.Tensor) bool { return strings.HasPrefix(name, bestPrefix) })
}

func firstOf(all map[string]*safetensors.Tensor, prefix string) string {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}

// notUsed trains beside a checkpoint that is to be told of and left.
func notUsed(t *testing.T, data Data, config Config, checkpoint []byte, why string, want *Result) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, checkpointFile), checkpoint, 0o666); err != nil {
		t.Fatal(err)
	}
	var said []string
	got := train(t, data, config, Options{Resume: dir, Logf: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }})
	if len(said) != 1 || !strings.Contains(said[0], why) {
		t.Errorf("said %q, want %q", said, why)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the checkpoint changed the result:\n%s", diff)
	}
}
