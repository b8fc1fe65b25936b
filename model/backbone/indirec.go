package backbone

// InDiRec is what only the backbone indirec reads.
type InDiRec struct {
	Intents         int     `json:"intents"`          // clusters of training examples
	Steps           int     `json:"steps"`            // of the diffusion
	Schedule        string  `json:"schedule"`         // of its noise: exp, linear, cosine or sqrt
	Guidance        float64 `json:"guidance"`         // weight of the condition in the reverse process
	Unconditional   float64 `json:"unconditional"`    // probability with which training leaves the condition out
	Temperature     float64 `json:"temperature"`      // of the contrast
	ContrastWeight  float64 `json:"contrast_weight"`  // of the contrastive loss
	DiffusionWeight float64 `json:"diffusion_weight"` // of the denoising loss
}

// DefaultInDiRec is the setting of the published code.
func DefaultInDiRec() InDiRec {
	return InDiRec{
		Intents: 256, Steps: 200, Schedule: "exp", Guidance: 2, Unconditional: 0.1,
		Temperature: 1, ContrastWeight: 0.2, DiffusionWeight: 1,
	}
}
