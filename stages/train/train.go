package train

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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
	Items    stages.In[ItemRow]    `stage:"items" optional:"true" doc:"the items' external ids, which the model then holds"`

	Modalities []string `stage:"modalities" default:"image,text" enum:"image,text" doc:"which of the features are used; one that no item has is left out"`
	Backbone   string   `stage:"backbone" default:"sasrec" enum:"sasrec,stosa,indirec" doc:"the sequence model"`
	Mode       string   `stage:"mode" default:"causal" enum:"causal,paper,reference" doc:"which reading of PRISM is built"`

	Loss               string `stage:"loss" default:"ce" enum:"bce,bpr,ce,sampled_ce" doc:"bce, bpr: against drawn negatives; ce: softmax over all items; sampled_ce: over the target and drawn ones"`
	Negatives          int    `stage:"negatives" default:"1" min:"1" max:"1048576" unit:"items" doc:"drawn by every loss but ce"`
	NegativeSharing    string `stage:"negative_sharing" default:"auto" enum:"auto,target,sequence,batch" doc:"which targets are compared with the same negatives; auto: the whole batch for sampled_ce, else each target has its own"`
	NegativeRejection  string `stage:"negative_rejection" default:"auto" enum:"auto,train,all,none" doc:"which of a user's items are no negatives, where the batch does not share them; auto: those of the training part, in mode reference all"`
	SamplingCorrection bool   `stage:"sampling_correction" default:"true" doc:"loss sampled_ce: whether a negative stands for as many items as there are for each"`
	Examples           string `stage:"examples" default:"auto" enum:"auto,sequence,prefix" doc:"sequence: a user's newest window, with a target at every place; prefix: every prefix of it, with one target; auto: prefixes for indirec"`

	Hidden           int     `stage:"hidden" default:"64" min:"1" max:"65536" unit:"components" doc:"width of the model; a multiple of heads"`
	Layers           int     `stage:"layers" default:"2" min:"1" max:"256" unit:"layers" doc:"of self-attention"`
	Heads            int     `stage:"heads" default:"2" min:"1" max:"65536" unit:"heads" doc:"of each layer"`
	MaxLength        int     `stage:"max_length" default:"50" min:"1" max:"65536" unit:"items" doc:"newest items of a user that are read"`
	Dropout          float64 `stage:"dropout" default:"0.5" min:"0" max:"0.99" doc:"share of hidden values dropped in training"`
	DropoutAttention float64 `stage:"dropout_attention" default:"0.5" min:"0" max:"0.99" doc:"share of attention weights dropped in training"`

	StosaMeanStreamBug     bool    `stage:"stosa_mean_stream_bug" default:"false" doc:"leave the mean stream of stosa as it was embedded, as the published code does by a misspelt variable"`
	StosaPVNWeight         float64 `stage:"stosa_pvn_weight" default:"0.005" min:"0" doc:"weight of stosa's loss on the distance of target and negative"`
	IndirecIntents         int     `stage:"indirec_intents" default:"256" min:"1" max:"65536" unit:"clusters" doc:"into which indirec divides the examples"`
	IndirecSteps           int     `stage:"indirec_steps" default:"200" min:"1" max:"10000" unit:"steps" doc:"of indirec's diffusion"`
	IndirecSchedule        string  `stage:"indirec_schedule" default:"exp" enum:"exp,linear,cosine,sqrt" doc:"of the noise of indirec's diffusion"`
	IndirecDenoiser        string  `stage:"indirec_denoiser" default:"mlp1" enum:"mlp1,mlp2" doc:"layers of indirec's denoising network"`
	IndirecGuidance        float64 `stage:"indirec_guidance" default:"2" min:"0" doc:"weight of the condition in indirec's reverse process"`
	IndirecUnconditional   float64 `stage:"indirec_unconditional" default:"0.1" min:"0" max:"1" doc:"share of examples whose condition is left out"`
	IndirecSimilarity      string  `stage:"indirec_similarity" default:"dot" enum:"dot,cosine" doc:"of indirec's contrastive loss"`
	IndirecTemperature     float64 `stage:"indirec_temperature" default:"1" min:"0.001" doc:"of indirec's contrastive loss"`
	IndirecContrastWeight  float64 `stage:"indirec_contrast_weight" default:"0.2" min:"0" doc:"of indirec's contrastive loss"`
	IndirecDiffusionWeight float64 `stage:"indirec_diffusion_weight" default:"1" min:"0" doc:"of indirec's denoising loss"`

	ExpertHidden      int     `stage:"expert_hidden" default:"128" min:"1" max:"65536" unit:"components" doc:"inner width of an expert"`
	ExpertDropout     float64 `stage:"expert_dropout" default:"0" min:"0" max:"0.99" doc:"share of an expert's hidden values dropped in training"`
	GateHidden        int     `stage:"gate_hidden" default:"128" min:"1" max:"65536" unit:"components" doc:"inner width of the gate"`
	GateDropout       float64 `stage:"gate_dropout" default:"0.3" min:"0" max:"0.99" doc:"share of the gate's hidden values dropped in training"`
	GateTemperature   float64 `stage:"gate_temperature" default:"0.7" min:"0.001" doc:"the higher, the more equal the experts' weights"`
	LambdaUniqueImage float64 `stage:"lambda_unique_image" default:"0.1" min:"0" doc:"weight of the loss that makes an expert listen to pictures alone"`
	LambdaUniqueText  float64 `stage:"lambda_unique_text" default:"0.1" min:"0" doc:"weight of the loss that makes an expert listen to texts alone"`
	LambdaSynergy     float64 `stage:"lambda_synergy" default:"0.1" min:"0" doc:"weight of the loss that makes an expert need all modalities together"`
	LambdaRedundancy  float64 `stage:"lambda_redundancy" default:"0.1" min:"0" doc:"weight of the loss that makes an expert content with any modality"`
	LossOn            string  `stage:"loss_on" default:"embedding" enum:"embedding,prediction" doc:"what these losses compare: what experts say, or what the encoder makes of it, which costs a pass for each"`
	Distance          string  `stage:"distance" default:"auto" enum:"auto,cosine,euclidean" doc:"of the uniqueness triplets; auto: cosine, in mode reference euclidean"`
	Margin            float64 `stage:"margin" default:"1" min:"0" doc:"of the uniqueness triplets, in units of their distance (cosine: 0 to 2)"`
	Replacement       string  `stage:"replacement" default:"auto" enum:"auto,scaled,unit,mean,zero,permute" doc:"what stands for a modality that an expert is not to see; auto: noise scaled as the batch, in mode reference unit-normal noise"`
	ModalityTables    string  `stage:"modality_tables" default:"auto" enum:"auto,frozen,trainable" doc:"whether feature vectors are trained; auto: only in mode reference"`
	Missing           string  `stage:"missing" default:"auto" enum:"auto,learned,zero,mean" doc:"vector of an item that lacks a modality; auto: learned, in mode reference zero"`
	FusionScope       string  `stage:"fusion_scope" default:"sequence" enum:"sequence,item" doc:"mode paper: what experts and gate look at"`
	DirectSum         bool    `stage:"direct_sum" default:"true" doc:"whether an item's own modalities are added to the input beside the experts' mixture"`

	Optimizer       string  `stage:"optimizer" default:"adam" enum:"adam,adamw" doc:"adamw: weight decay is decoupled from the gradient"`
	LearningRate    float64 `stage:"learning_rate" default:"0.001" min:"1e-9" max:"1" doc:"of the optimizer, after the warm-up"`
	WeightDecay     float64 `stage:"weight_decay" default:"0" min:"0" max:"0.99" doc:"adam: L2, added to the gradient; adamw: decoupled"`
	WarmupSteps     int     `stage:"warmup_steps" default:"0" min:"0" unit:"optimizer steps" doc:"over which the learning rate rises from 0"`
	Decay           string  `stage:"decay" default:"none" enum:"none,linear,cosine" doc:"how the learning rate falls from the warm-up to the last of epochs"`
	FinalRate       float64 `stage:"final_rate" default:"0" min:"0" max:"1" doc:"share of the learning rate that is left at the end of a decay"`
	ClipNorm        float64 `stage:"clip_norm" default:"0" min:"0" doc:"greatest Euclidean norm of all gradients together; 0: no limit"`
	BatchSize       int     `stage:"batch_size" default:"256" min:"1" max:"1048576" unit:"examples" doc:"users, or prefixes, of one step"`
	AccumulateSteps int     `stage:"accumulate_steps" default:"1" min:"1" max:"65536" unit:"batches" doc:"of one optimizer step"`

	Epochs      int     `stage:"epochs" default:"200" min:"1" max:"100000" unit:"epochs" doc:"at most"`
	EvalEvery   int     `stage:"eval_every" default:"1" min:"1" unit:"epochs" doc:"between validations"`
	Patience    int     `stage:"patience" default:"10" min:"0" unit:"validations" doc:"without a better one before training stops; 0: never stop early"`
	Monitor     string  `stage:"monitor" default:"ndcg@20" doc:"what the best epoch is chosen by: recall, ndcg or mrr of the validation answers, @ and a cut-off; or loss, the training loss"`
	MonitorMode string  `stage:"monitor_mode" default:"auto" enum:"auto,max,min" doc:"which values are better; auto: less of the loss, more of the others"`
	MinDelta    float64 `stage:"min_delta" default:"0" min:"0" doc:"by how much a value must be better to count as better"`

	Seed      int64  `stage:"seed" default:"42" doc:"of first parameters, order, dropout and negatives"`
	Precision string `stage:"precision" default:"fp32" enum:"fp32,tf32,bf16" doc:"of matrix products; tf32 differs from fp32 on GPUs alone; parameters and losses are fp32 always"`
	Threads   int    `stage:"threads" default:"2" min:"1" max:"1024" unit:"threads" doc:"inside one operator on the CPU; part of the key, since it changes the last bits of sums"`

	CheckpointEvery stages.Setting[float64] `stage:"checkpoint_every" default:"10" min:"0" unit:"minutes" doc:"between checkpoints within an epoch, from which a killed training goes on; 0: only after each epoch"`
	Device          stages.Setting[string]  `stage:"device" default:"auto" doc:"cpu, cuda, cuda:N, or auto: CUDA where there is a device"`

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
		Device: p.Device.Value, Resume: env.Resume, CheckpointEvery: time.Duration(p.CheckpointEvery.Value * float64(time.Minute)), Progress: p.watch(env),
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
		if now.Finished == nil {
			return
		}
		values := p.values(*now.Finished)
		env.Log.Info().Fields(values).Bool("best", now.Finished.Best).Msg("epoch done")
		values["epochs"], values["users_per_second"] = now.Epochs, now.UsersPerSecond
		env.Metrics(values)
	}
}

// values are what is told of an epoch, by the names that the history has. A loss
// that is all of it is not told twice.
func (p *Prism) values(e training.Epoch) map[string]any {
	values := map[string]any{"epoch": e.Epoch, "loss": e.Loss, "learning_rate": e.LearningRate}
	if e.Interaction != 0 || e.Own != 0 {
		values["recommendation_loss"], values["interaction_loss"], values["own_loss"] = e.Recommendation, e.Interaction, e.Own
	}
	if e.Value != nil {
		values[p.Monitor] = *e.Value
	}
	return values
}

func (p *Prism) write(result *training.Result, itemIDs []string) error {
	parts, err := EncodeModel(Model{result.Model, itemIDs})
	if err != nil {
		return err
	}
	history := make([]tables.Epoch, len(result.History))
	for i, e := range result.History {
		history[i] = tables.Epoch{
			Epoch: int32(e.Epoch), Steps: e.Steps, Loss: e.Loss, Recommendation: e.Recommendation, Interaction: e.Interaction, Own: e.Own,
			LearningRate: e.LearningRate, Metric: p.Monitor, Value: e.Value, Best: e.Best,
		}
	}
	return errors.Join(p.Model.WriteAll(parts), p.History.WriteAll(history))
}
