package stages

import (
	"time"

	"github.com/prismflow/prismflow/dag"
)

// Options are the settings that every stage may have, whatever its kind. None
// of them changes a result, so none is part of a key.
type Options struct {
	After   []string      // stages that must have ended well first, though nothing of theirs is read
	Uses    dag.Resources // what it takes of the machine while it runs
	Timeout time.Duration // of one attempt; 0 for none
	Retries int           // attempts after a failed one
	NoCache bool          // `cache = false`: run every time
}
