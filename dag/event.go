package dag

import "time"

// State says how far a node has come, or how it ended.
type State string

const (
	Pending State = "pending" // not begun (for views; never in a Result)
	Running State = "running" // executing (for views and stage_started)

	Ran        State = "ran"        // Execute computed the result
	Cached     State = "cached"     // the result was at hand
	Downloaded State = "downloaded" // the result was fetched from elsewhere
	Failed     State = "failed"     // a root cause
	Skipped    State = "skipped"    // behind a root cause
	Cancelled  State = "cancelled"  // the run was cancelled before it ended
)

// OK says whether a node that ended so has a result.
func (s State) OK() bool { return s == Ran || s == Cached || s == Downloaded }

// Types of events. Every node ends in exactly one stage_finished; one that
// executes has one stage_started before it, and a stage_retry per failed
// attempt that is followed by another.
const (
	RunStarted    = "run_started"    // Total nodes
	StageStarted  = "stage_started"  // the first attempt begins; Reason says why it was not reused
	StageProgress = "stage_progress" // Done of Total Units
	StageLog      = "stage_log"      // Level, Message, Fields
	StageMetrics  = "stage_metrics"  // Fields
	StageRetry    = "stage_retry"    // attempt Attempt failed with Error, another follows
	StageFinished = "stage_finished" // State, Reason, Seconds, Error, CausedBy, Detail
	RunFinished   = "run_finished"   // Done of Total have a result, Fields counts the states
	Sharing       = "sharing"        // Done of Total Units of results have gone to others; after RunFinished, outside of any node
	Note          = "note"           // Level, Message: something to know that ends nothing
)

// Event is one thing that happened. Which fields are set depends on Type; Run
// and Pipeline are filled in by an Emitter, as this package knows neither.
type Event struct {
	Time     time.Time      `json:"time"`
	Type     string         `json:"type"`
	Run      string         `json:"run,omitempty"`
	Pipeline string         `json:"pipeline,omitempty"`
	Stage    string         `json:"stage,omitempty"` // the node's name
	Kind     string         `json:"kind,omitempty"`
	State    State          `json:"state,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	CausedBy string         `json:"caused_by,omitempty"` // the root cause of a skipped node
	Seconds  float64        `json:"seconds,omitempty"`
	Attempt  int            `json:"attempt,omitempty"` // from 1
	Done     int64          `json:"done,omitempty"`
	Total    int64          `json:"total,omitempty"` // 0 when it is not known
	Unit     string         `json:"unit,omitempty"`
	Message  string         `json:"message,omitempty"`
	Level    string         `json:"level,omitempty"` // debug, info, warn or error
	Fields   map[string]any `json:"fields,omitempty"`
	Detail   any            `json:"detail,omitempty"` // what the Task put into its Outcome, untouched
	Error    string         `json:"error,omitempty"`
}

// Listener receives events, one at a time and in order. It owns neither the
// event's Fields nor its Detail and must not change them.
type Listener func(Event)

// Multi passes each event to all listeners in turn; nil ones are left out.
func Multi(listeners ...Listener) Listener {
	var present []Listener
	for _, listener := range listeners {
		if listener != nil {
			present = append(present, listener)
		}
	}
	return func(event Event) {
		for _, listener := range present {
			listener(event)
		}
	}
}
