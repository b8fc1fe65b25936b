package training

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/ranking"
)

// Loss is what the model is trained to do with the next item.
type Loss string

const (
	// BCE tells the next item from Negatives drawn ones: softplus(-s⁺) + the mean of softplus(s⁻). Cheap.
	BCE Loss = "bce"
	// CE is the cross-entropy over all items. Dearer, and better on every data set that we know of.
	CE Loss = "ce"
)

// Config is everything but the data that decides the result of a training.
type Config struct {
	Model        prism.Config       // Items and Modalities are set from the data
	LambdaUnique map[string]float64 // by modality; prism.DefaultLambda for those not in it

	Loss         Loss
	Negatives    int // of BCE, for each target
	LearningRate float64
	WeightDecay  float64 // L2, added to the gradient
	BatchSize    int     // users
	Epochs       int     // at most
	Patience     int     // epochs without a better validation after which training stops; 0: never
	Monitor      string  // validation metric, such as "ndcg@20"; greater is better
	Seed         int64   // of parameters, order, dropout and negatives
	Precision    string  // "fp32"
	Threads      int     // inside one operator; it changes the last bits of sums, hence part of the result
}

// Default is what a training does when nothing else is asked for: the settings
// with which reference numbers were measured.
func Default() Config {
	return Config{
		Model: prism.Default(), Loss: CE, Negatives: 1,
		LearningRate: 1e-3, BatchSize: 256, Epochs: 200, Patience: 10, Monitor: "ndcg@20",
		Seed: 42, Precision: "fp32", Threads: 2,
	}
}

// Validate lists everything that is wrong with the configuration, without the
// data.
func (c Config) Validate() error {
	problems := c.Model.ValidateSettings()
	add := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	add(c.Loss == BCE || c.Loss == CE, "loss = %q: want bce or ce", c.Loss)
	add(c.Negatives >= 1, "negatives = %d: want at least 1", c.Negatives)
	add(c.LearningRate > 0 && c.LearningRate <= 1, "learning_rate = %v: want more than 0 and at most 1", c.LearningRate)
	add(c.WeightDecay >= 0 && c.WeightDecay < 1, "weight_decay = %v: want 0 or more and less than 1", c.WeightDecay)
	add(c.BatchSize >= 1, "batch_size = %d: want at least 1", c.BatchSize)
	add(c.Epochs >= 1, "epochs = %d: want at least 1", c.Epochs)
	add(c.Patience >= 0, "patience = %d: want 0 (never stop early) or more", c.Patience)
	add(c.Threads >= 1 && c.Threads <= maxThreads, "threads = %d: want 1…%d", c.Threads, maxThreads)
	switch c.Precision {
	case "fp32":
	case "bf16":
		add(false, "precision = \"bf16\": not in this version; use \"fp32\"")
	default:
		add(false, "precision = %q: want fp32", c.Precision)
	}
	if _, err := parseMonitor(c.Monitor); err != nil {
		problems = append(problems, err)
	}
	for name, lambda := range c.LambdaUnique {
		add(lambda >= 0, "lambda_unique_%s = %v: want 0 or more", name, lambda)
	}
	return errors.Join(problems...)
}

const maxThreads = 1024

// A monitor is one metric at one k.
type monitor struct {
	metric ranking.Metric
	k      int
}

func parseMonitor(text string) (monitor, error) {
	name, at, ok := strings.Cut(text, "@")
	k, err := strconv.Atoi(at)
	metric := ranking.Metric(name)
	known := slices.Contains([]ranking.Metric{ranking.Recall, ranking.NDCG, ranking.MRR}, metric)
	if !ok || err != nil || k < 1 || !known {
		return monitor{}, fmt.Errorf("monitor = %q: want recall, ndcg or mrr, an @ and a cut-off, such as ndcg@20", text)
	}
	return monitor{metric, k}, nil
}

// model is the model's configuration for the data in hand.
func (c Config) model(data Data) prism.Config {
	m := c.Model
	m.Items = data.Items
	m.Modalities = nil
	for _, modality := range data.Modalities {
		lambda, ok := c.LambdaUnique[modality.Name]
		if !ok {
			lambda = prism.DefaultLambda
		}
		m.Modalities = append(m.Modalities, prism.Modality{Name: modality.Name, Size: modality.Size, LambdaUnique: lambda})
	}
	return m
}
