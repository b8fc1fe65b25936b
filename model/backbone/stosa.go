package backbone

// STOSA is what only the backbone stosa reads.
type STOSA struct {
	// MeanStreamBug leaves the mean stream as it was embedded, as the published
	// code does by a misspelt variable.
	MeanStreamBug bool    `json:"mean_stream_bug"`
	PVNWeight     float64 `json:"pvn_weight"` // of the positive-versus-negative loss
}

// DefaultSTOSA is the published setting, without its bug.
func DefaultSTOSA() STOSA { return STOSA{PVNWeight: 0.005} }
