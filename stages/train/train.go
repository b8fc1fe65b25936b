package train

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/training"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// Prism is the stage kind prism.train.
type Prism struct {
	Split    stages.In[splitRow]   `stage:"split" doc:"each user's training items and held-out answers"`
	Features stages.In[featureRow] `stage:"features" optional:"true" doc:"vectors of the items' pictures and texts; without them the backbone is trained alone"`
	Items    stages.In[itemRow]    `stage:"items" optional:"true" doc:"the items' external ids, which the model then holds"`

	Modalities []string `stage:"modalities" default:"image,text" enum:"image,text" doc:"which of the features are used; one that no item has is left out"`
	Backbone   string   `stage:"backbone" default:"sasrec" enum:"sasrec" doc:"the sequence model"`
	Mode       string   `stage:"mode" default:"causal" enum:"causal,paper,reference" doc:"which reading of PRISM is built"`
	Loss       string   `stage:"loss" default:"ce" enum:"bce,ce" doc:"bce: against drawn negatives; ce: softmax over all items"`
	Negatives  int      `stage:"negatives" default:"1" min:"1" max:"4096" unit:"items" doc:"drawn for each target by loss bce"`

	Hidden           int     `stage:"hidden" default:"64" min:"1" max:"65536" unit:"components" doc:"width of the model; a multiple of heads"`
	Layers           int     `stage:"layers" default:"2" min:"1" max:"256" unit:"layers" doc:"of self-attention"`
	Heads            int     `stage:"heads" default:"2" min:"1" max:"65536" unit:"heads" doc:"of each layer"`
	MaxLength        int     `stage:"max_length" default:"50" min:"1" max:"65536" unit:"items" doc:"newest items of a user that are read"`
	Dropout          float64 `stage:"dropout" default:"0.5" min:"0" max:"0.99" doc:"share of hidden values dropped in training"`
	DropoutAttention float64 `stage:"dropout_attention" default:"0.5" min:"0" max:"0.99" doc:"share of attention weights dropped in training"`

	ExpertHidden      int     `stage:"expert_hidden" default:"128" min:"1" max:"65536" unit:"components" doc:"inner width of an expert"`
	GateHidden        int     `stage:"gate_hidden" default:"128" min:"1" max:"65536" unit:"components" doc:"inner width of the gate"`
	GateDropout       float64 `stage:"gate_dropout" default:"0.3" min:"0" max:"0.99" doc:"share of the gate's hidden values dropped in training"`
	GateTemperature   float64 `stage:"gate_temperature" default:"0.7" min:"0.001" doc:"the higher, the more equal the experts' weights"`
	LambdaUniqueImage float64 `stage:"lambda_unique_image" default:"0.1" min:"0" doc:"weight of the loss that makes an expert listen to pictures alone"`
	LambdaUniqueText  float64 `stage:"lambda_unique_text" default:"0.1" min:"0" doc:"weight of the loss that makes an expert listen to texts alone"`
	LambdaSynergy     float64 `stage:"lambda_synergy" default:"0.1" min:"0" doc:"weight of the loss that makes an expert need all modalities together"`
	LambdaRedundancy  float64 `stage:"lambda_redundancy" default:"0.1" min:"0" doc:"weight of the loss that makes an expert content with any modality"`
	Margin            float64 `stage:"margin" default:"1" min:"0" doc:"of the uniqueness triplets, in units of their distance (cosine: 0 to 2)"`

	LearningRate float64 `stage:"learning_rate" default:"0.001" min:"1e-9" max:"1" doc:"of Adam"`
	WeightDecay  float64 `stage:"weight_decay" default:"0" min:"0" max:"0.99" doc:"L2, added to the gradient"`
	BatchSize    int     `stage:"batch_size" default:"256" min:"1" max:"1048576" unit:"users" doc:"of one optimizer step"`
	Epochs       int     `stage:"epochs" default:"200" min:"1" max:"100000" unit:"epochs" doc:"at most"`
	Patience     int     `stage:"patience" default:"10" min:"0" unit:"epochs" doc:"without a better validation before training stops; 0: never stop early"`
	Monitor      string  `stage:"monitor" default:"ndcg@20" doc:"validation metric by which the best epoch is chosen: recall, ndcg or mrr, @ and a cut-off"`
	Seed         int64   `stage:"seed" default:"42" doc:"of first parameters, order, dropout and negatives"`
	Precision    string  `stage:"precision" default:"fp32" enum:"fp32,bf16" doc:"of the arithmetic; bf16 is not in this version"`
	Threads      int     `stage:"threads" default:"2" min:"1" max:"1024" unit:"threads" doc:"inside one operator on the CPU; part of the key, since it changes the last bits of sums"`

	Device stages.Setting[string] `stage:"device" default:"auto" doc:"cpu, cuda, cuda:N, or auto: CUDA where there is a device"`

	Model   stages.Out[tables.ModelPart] `stage:"model" doc:"the best epoch's configuration and parameters"`
	History stages.Out[tables.Epoch]     `stage:"history" doc:"one row an epoch"`
}

// splitRow is what is read of tables.Split.
type splitRow struct {
	User  int32   `arrow:"user"`
	Train []int32 `arrow:"train"`
	Valid []int32 `arrow:"valid"`
	Test  []int32 `arrow:"test"`
}

// featureRow is what is read of tables.Features.
type featureRow struct {
	ID           int32     `arrow:"id"`
	Image        []float32 `arrow:"image,fixed"`
	ImagePresent bool      `arrow:"image_present"`
	Text         []float32 `arrow:"text,fixed"`
	TextPresent  bool      `arrow:"text_present"`
}

// Validate reports what single parameters' bounds cannot say.
func (p *Prism) Validate() []stages.Problem {
	var problems []stages.Problem
	for _, err := range unjoin(p.config().Validate()) {
		name, message, _ := strings.Cut(err.Error(), " = ")
		problems = append(problems, stages.Problem{Param: name, Message: message})
	}
	if _, err := gotorch.NewDevice(p.Device.Value); err != nil && p.Device.Value != "auto" {
		problems = append(problems, stages.Problem{Param: "device", Message: err.Error()})
	}
	return problems
}

func unjoin(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

func (p *Prism) config() training.Config {
	return training.Config{
		Model: prism.Config{
			Backbone: p.Backbone, Mode: prism.Mode(p.Mode),
			Hidden: p.Hidden, Layers: p.Layers, Heads: p.Heads, MaxLength: p.MaxLength,
			Dropout: p.Dropout, DropoutAttention: p.DropoutAttention,
			ExpertHidden: p.ExpertHidden, GateHidden: p.GateHidden, GateDropout: p.GateDropout, GateTemperature: p.GateTemperature,
			LambdaSynergy: p.LambdaSynergy, LambdaRedundancy: p.LambdaRedundancy, Margin: p.Margin,
			DirectSum: true,
		},
		LambdaUnique: map[string]float64{"image": p.LambdaUniqueImage, "text": p.LambdaUniqueText},
		Loss:         training.Loss(p.Loss), Negatives: p.Negatives,
		LearningRate: p.LearningRate, WeightDecay: p.WeightDecay, BatchSize: p.BatchSize,
		Epochs: p.Epochs, Patience: p.Patience, Monitor: p.Monitor,
		Seed: p.Seed, Precision: p.Precision, Threads: p.Threads,
	}
}

// Run trains and writes the model and its history.
func (p *Prism) Run(ctx context.Context, env *stages.Env) error {
	data, itemIDs, err := p.read(ctx, env)
	if err != nil {
		return err
	}
	lib, err := gotorch.Open(ctx, env.Torch)
	if err != nil {
		return fmt.Errorf("training needs libtorch: %w", err)
	}
	for _, advice := range lib.Advice() {
		env.Log.Warn().Msg(advice)
	}
	result, err := training.Train(ctx, lib, data, p.config(), training.Options{
		Device: p.Device.Value, Resume: env.Resume, Progress: p.watch(env),
		Logf: func(format string, args ...any) { env.Log.Info().Msgf(format, args...) },
	})
	if err != nil {
		return err
	}
	env.Version("libtorch", result.Torch)
	env.Version("device", result.Device)
	env.Count("epochs", float64(len(result.History)))
	env.Count("best_epoch", float64(result.Best))
	env.Count("model_values", float64(size(result.Model)))
	return p.write(result, itemIDs)
}

func size(model prism.Snapshot) int {
	n := 0
	for _, t := range model.Tensors {
		n += len(t.Values)
	}
	return n
}

// watch passes the trainer's progress on: steps as they are made, values and a
// line of log once an epoch.
func (p *Prism) watch(env *stages.Env) func(training.Progress) {
	return func(now training.Progress) {
		env.Progress(int64(now.Epoch-1)*int64(now.Steps)+int64(now.Step), int64(now.Epochs)*int64(now.Steps), "steps")
		e := now.Finished
		if e == nil {
			return
		}
		values := map[string]any{"epoch": e.Epoch, "epochs": now.Epochs, "loss": e.Loss, "users_per_second": now.UsersPerSecond}
		line := env.Log.Info().Int("epoch", e.Epoch).Float64("loss", e.Loss)
		if e.Value != nil {
			values[p.Monitor] = *e.Value
			line = line.Float64(p.Monitor, *e.Value).Bool("best", e.Best)
		}
		env.Metrics(values)
		line.Msg("epoch done")
	}
}

func (p *Prism) write(result *training.Result, itemIDs []string) error {
	parts, err := EncodeModel(Model{result.Model, itemIDs})
	if err != nil {
		return err
	}
	history := make([]tables.Epoch, len(result.History))
	for i, e := range result.History {
		history[i] = tables.Epoch{
			Epoch: int32(e.Epoch), Steps: e.Steps, Loss: e.Loss, Recommendation: e.Recommendation, Interaction: e.Interaction,
			LearningRate: e.LearningRate, Metric: p.Monitor, Value: e.Value, Best: e.Best,
		}
	}
	return errors.Join(p.Model.WriteAll(parts), p.History.WriteAll(history))
}
