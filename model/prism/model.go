package prism

import (
	"fmt"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// A Model is a backbone with PRISM before it. It is bound to its session and,
// like that, used by one goroutine at a time, inside the session's Run.
type Model struct {
	config   Config
	session  *gotorch.Session
	backbone backbone.Backbone
	streams  [][]*modality // of each stream of the backbone
	experts  []*expert
	gate     *gate           // nil when there are fewer than two experts
	own      *gotorch.Tensor // bool [modalities, 1, modalities·hidden]: the components of each modality
}

// New makes a model with parameters drawn from the session's generator, the
// backbone's first, so that models with and without modalities begin alike.
// features are in the order of Config.Modalities; they are copied.
func New(s *gotorch.Session, config Config, features []Features) (*Model, error) {
	if len(features) != len(config.Modalities) {
		return nil, fmt.Errorf("making a model: features of %d modalities: want %d", len(features), len(config.Modalities))
	}
	return build(s, config, func(i int) *Features { return &features[i] })
}

// build makes a model; where features gives nil it can only serve.
func build(s *gotorch.Session, config Config, features func(int) *Features) (*Model, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("making a model: %w", err)
	}
	b, err := backbone.New(s, config.Backbone, config.backbone())
	if err != nil {
		return nil, err
	}
	return assemble(s, config.Resolve(), b, features)
}

// assemble puts experts and gate before a backbone.
func assemble(s *gotorch.Session, config Config, b backbone.Backbone, features func(int) *Features) (*Model, error) {
	m := &Model{config: config, session: s, backbone: b, streams: make([][]*modality, b.Streams())}
	for i := range m.streams {
		for j, shape := range config.Modalities {
			modality, err := newModality(s, config, shape, features(j))
			if err != nil {
				return nil, fmt.Errorf("making a model: %w", err)
			}
			m.streams[i] = append(m.streams[i], modality)
		}
	}
	for range config.Experts() {
		m.experts = append(m.experts, newExpert(s, config))
	}
	if len(m.experts) > 1 {
		m.gate = newGate(s, config)
	}
	if len(m.experts) > 0 {
		m.own = ownComponents(s, config)
	}
	return m, nil
}

func ownComponents(s *gotorch.Session, c Config) *gotorch.Tensor {
	n, hidden := len(c.Modalities), c.Hidden
	own := make([]bool, n*n*hidden)
	for i := range own {
		own[i] = i/(n*hidden) == i/hidden%n
	}
	t := s.FromBool(own, int64(n), 1, int64(n*hidden))
	s.Persist(t)
	return t
}

// Config is what the model was made from, resolved.
func (m *Model) Config() Config { return m.config }

// Backbone scores the states that Forward gives.
func (m *Model) Backbone() backbone.Backbone { return m.backbone }

// Session is the model's.
func (m *Model) Session() *gotorch.Session { return m.session }

// Parameters are all that is trained, in a fixed order.
func (m *Model) Parameters() []nn.Named {
	params := nn.Prefix("backbone", m.backbone)
	for i, modalities := range m.streams {
		for _, modality := range modalities {
			params = append(params, nn.Prefix(modalityName(i, modality), modality)...)
		}
	}
	params = append(params, expertParameters(m.config, m.experts)...)
	if m.gate != nil {
		params = append(params, nn.Prefix("gate", m.gate)...)
	}
	return params
}

func modalityName(stream int, m *modality) string {
	return fmt.Sprintf("modalities.%d.%s", stream, m.name)
}

// Pass says how a batch goes through the model.
type Pass struct {
	Mode   nn.Mode
	Losses bool           // compute Output.Interaction; needs a model that can train
	Noise  backbone.Noise // for Interaction; nil: from the session's generator
}

// Output is what a batch gives.
type Output struct {
	Hidden      *gotorch.Tensor   // [rows, width, size]
	Interaction *gotorch.Tensor   // the weighted interaction losses, one number; nil when there are none
	Gates       []*gotorch.Tensor // of each stream, the experts' weights [n, experts]: n places where each has its own mixture, else sequences
}

// Forward computes the hidden states of a batch. In mode reference the batch
// must have one sequence a row, in rows as wide as in training, since padding
// counts.
func (m *Model) Forward(b *backbone.Batch, pass Pass) Output {
	embedded := m.backbone.Embed(b)
	if len(m.experts) == 0 {
		return Output{Hidden: m.backbone.Encode(b, embedded, pass.Mode)}
	}
	f := m.newFusion(b, pass)
	streams := make([]*stream, len(embedded))
	for i := range embedded {
		streams[i] = f.read(embedded[i], m.streams[i])
		embedded[i] = f.enrich(streams[i])
	}
	out := Output{Hidden: m.backbone.Encode(b, embedded, pass.Mode), Gates: f.gates}
	if pass.Losses {
		out.Interaction = f.interaction(streams)
	}
	return out
}
