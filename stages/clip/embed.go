package clip

import (
	"context"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
	"github.com/prismflow/prismflow/stages/tables"
)

// embedVersion is of the stage. rowVersion is of what one row's vector is: it
// moves only when vectors that are remembered are no longer what would be made.
const (
	embedVersion = 1
	rowVersion   = 1
)

// itemText is what is read of an item.
type itemText struct {
	ID          int32    `arrow:"id"`
	Item        string   `arrow:"item"`
	Title       string   `arrow:"title"`
	Description string   `arrow:"description"`
	Brand       string   `arrow:"brand"`
	Categories  []string `arrow:"categories"`
}

func (i itemText) text() string {
	return tables.ItemText(i.Title, i.Description, i.Brand, i.Categories)
}

// imageBytes is what is read of a picture.
type imageBytes struct {
	Item   string `arrow:"item"`
	SHA256 string `arrow:"sha256"`
	Bytes  []byte `arrow:"bytes"`
}

// Embed is the stage kind clip.embed.
type Embed struct {
	Items   stages.In[itemText]   `stage:"items" doc:"the items to describe"`
	Images  stages.In[imageBytes] `stage:"images" optional:"true" doc:"their pictures, by external item id"`
	Weights stages.Source         `stage:"weights" directory:"true" doc:"a CLIP model's directory as Hugging Face lays it out, or hf://owner/name[@revision]"`

	Modalities []string `stage:"modalities" default:"image,text" enum:"image,text" doc:"what is embedded"`
	Precision  string   `stage:"precision" default:"fp32" enum:"fp32,fp16,bf16" doc:"in which the model computes; vectors are float32 always"`
	Decoder    string   `stage:"decoder" default:"auto" enum:"auto,native,go" doc:"of pictures. native: libjpeg-turbo and libwebp, which decode as PIL does; go: no libraries; auto: native where they are. The key has the one that it comes to"`
	MaxBroken  float64  `stage:"max_broken" default:"0.2" min:"0" max:"1" doc:"share of the pictures that may be impossible to decode; above it the stage fails"`

	Device     stages.Setting[string] `stage:"device" default:"auto" doc:"cpu, cuda, cuda:N, or auto: CUDA where there is a device"`
	ImageBatch stages.Setting[int]    `stage:"image_batch" default:"0" min:"0" max:"65536" unit:"pictures" doc:"encoded at once, on the CPU at most 32; 0: as many as the device takes well"`
	TextBatch  stages.Setting[int]    `stage:"text_batch" default:"0" min:"0" max:"65536" unit:"texts" doc:"encoded at once, on the CPU at most 32; 0: as many as the device takes well"`
	Threads    stages.Setting[int]    `stage:"threads" default:"0" min:"0" max:"1024" unit:"threads" doc:"inside one operator on the CPU; 0: all cores"`
	Workers    stages.Setting[int]    `stage:"workers" default:"0" min:"0" max:"1024" unit:"goroutines" doc:"that decode pictures; 0: one a core"`

	Features stages.Out[tables.Features] `stage:"features" doc:"one row an item, in the items' order"`

	decoder *picture.Decoder // while it runs, if there are pictures
	open    opener           // nil: libtorch
}

// Validate reports what single parameters' bounds cannot say.
func (e *Embed) Validate() []stages.Problem {
	var problems []stages.Problem
	if len(e.Modalities) == 0 {
		problems = append(problems, stages.Problem{Param: "modalities", Message: "names no modality: want image, text or both"})
	}
	if _, err := gotorch.NewDevice(e.Device.Value); err != nil && e.Device.Value != "auto" {
		problems = append(problems, stages.Problem{Param: "device", Message: err.Error()})
	}
	return problems
}

// Chosen says which decoder the key has.
func (e *Embed) Chosen() map[string]any {
	if !e.wants(image) {
		return map[string]any{"decoder": "none"}
	}
	return map[string]any{"decoder": picture.NameOf(e.Decoder)}
}

func (e *Embed) wants(m modality) bool { return slices.Contains(e.Modalities, m.String()) }

// Run embeds what is new and writes a row for every item.
func (e *Embed) Run(ctx context.Context, env *stages.Env) error {
	model, err := openModel(e.Weights.Files())
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	if slices.Contains(e.asked(), image) {
		if err := e.openDecoder(env); err != nil {
			return err
		}
	}
	plan, err := e.plan(ctx, env, model)
	if err != nil {
		return err
	}
	env.Log.Info().Msg(plan.summary())
	for attempt := 1; ; attempt++ {
		if plan.waiting() > 0 {
			if err := e.embed(ctx, env, model, plan); err != nil {
				return err
			}
		}
		lost, err := e.write(ctx, model, plan)
		switch {
		case err != nil:
			return err
		case lost == 0:
			plan.count(env)
			return nil
		case attempt == maxAttempts:
			return fmt.Errorf("%d vectors that were remembered are lost again and again", lost)
		}
		env.Log.Warn().Int("vectors", lost).Msg("vectors that were remembered are lost or damaged, and are made again")
	}
}

// openDecoder finds what decodes pictures.
func (e *Embed) openDecoder(env *stages.Env) (err error) {
	if e.decoder, err = picture.Open(e.Decoder); err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	if missing := e.decoder.Missing(); missing != nil {
		env.Log.Warn().Err(missing).Msg("pictures are decoded by Go, whose pixels differ a little from those that models were trained with")
	}
	env.Version("picture decoder", e.decoder.Name())
	for library, version := range e.decoder.Versions() {
		env.Version(library, version)
	}
	return nil
}

// maxAttempts bounds how often vectors are made again that the memo has lost
// between the plan and the writing.
const maxAttempts = 3
