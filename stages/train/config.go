package train

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/training"
)

// auto is how a parameter says what an empty option says in a configuration:
// that it follows from the others.
const auto = "auto"

func option[T ~string](value string) T {
	if value == auto {
		return ""
	}
	return T(value)
}

func (p *Prism) config() training.Config {
	return training.Config{
		Model:        p.model(),
		LambdaUnique: map[string]float64{"image": p.LambdaUniqueImage, "text": p.LambdaUniqueText},
		Examples:     option[training.Examples](p.Examples),
		Loss:         training.Loss(p.Loss), Negatives: p.Negatives, CorrectSampling: p.SamplingCorrection,
		Sharing: option[training.Sharing](p.NegativeSharing), Reject: option[training.Rejection](p.NegativeRejection),
		Optimizer: p.Optimizer, LearningRate: p.LearningRate, WeightDecay: p.WeightDecay,
		WarmupSteps: p.WarmupSteps, Decay: training.Decay(p.Decay), FinalRate: p.FinalRate,
		ClipNorm: p.ClipNorm, BatchSize: p.BatchSize, AccumulateSteps: p.AccumulateSteps,
		Epochs: p.Epochs, EvalEvery: p.EvalEvery, Patience: p.Patience,
		Monitor: p.Monitor, MonitorMode: option[string](p.MonitorMode), MinDelta: p.MinDelta,
		Seed: p.Seed, Precision: training.Precision(p.Precision), Threads: p.Threads,
	}
}

func (p *Prism) model() prism.Config {
	return prism.Config{
		Backbone: p.Backbone, Mode: prism.Mode(p.Mode),
		Hidden: p.Hidden, Layers: p.Layers, Heads: p.Heads, MaxLength: p.MaxLength,
		Dropout: p.Dropout, DropoutAttention: p.DropoutAttention,
		STOSA: backbone.STOSA{MeanStreamBug: p.StosaMeanStreamBug, PVNWeight: p.StosaPVNWeight},
		InDiRec: backbone.InDiRec{
			Intents: p.IndirecIntents, Steps: p.IndirecSteps, Schedule: p.IndirecSchedule, Denoiser: p.IndirecDenoiser,
			Guidance: p.IndirecGuidance, Unconditional: p.IndirecUnconditional,
			Similarity: p.IndirecSimilarity, Temperature: p.IndirecTemperature,
			ContrastWeight: p.IndirecContrastWeight, DiffusionWeight: p.IndirecDiffusionWeight,
		},
		ExpertHidden: p.ExpertHidden, ExpertDropout: p.ExpertDropout,
		GateHidden: p.GateHidden, GateDropout: p.GateDropout, GateTemperature: p.GateTemperature,
		LambdaSynergy: p.LambdaSynergy, LambdaRedundancy: p.LambdaRedundancy, Margin: p.Margin,
		LossOn: prism.LossOn(p.LossOn), Distance: option[prism.Distance](p.Distance),
		Replacement: option[prism.Replacement](p.Replacement), Tables: option[prism.Tables](p.ModalityTables),
		Missing: option[prism.Missing](p.Missing), FusionScope: prism.FusionScope(p.FusionScope), DirectSum: p.DirectSum,
	}
}
