package clip

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Config is the shape of a model, as config.json has it.
type Config struct {
	Projection int          `json:"projection_dim"` // width of the shared space
	Text       TextConfig   `json:"text_config"`
	Vision     VisionConfig `json:"vision_config"`
}

// EncoderConfig is what the two transformers have in common.
type EncoderConfig struct {
	Hidden       int        `json:"hidden_size"`
	Intermediate int        `json:"intermediate_size"` // inner width of the feed-forward parts
	Layers       int        `json:"num_hidden_layers"`
	Heads        int        `json:"num_attention_heads"`
	Activation   Activation `json:"hidden_act"`
	NormEps      float64    `json:"layer_norm_eps"`
}

// TextConfig is the shape of the text transformer.
type TextConfig struct {
	EncoderConfig
	Vocabulary int   `json:"vocab_size"`
	Positions  int   `json:"max_position_embeddings"` // tokens of the longest text, start and end included
	EndToken   int64 `json:"eos_token_id"`            // LegacyEndToken: the text ends at its greatest id
}

// VisionConfig is the shape of the vision transformer.
type VisionConfig struct {
	EncoderConfig
	ImageSize int `json:"image_size"` // height and width of a picture
	PatchSize int `json:"patch_size"`
	Channels  int `json:"num_channels"`
}

// LegacyEndToken stands in the configurations of OpenAI's own models instead of the id of the end token, and has no
// other meaning.
const LegacyEndToken = 2

// Activation is the function between the two layers of a feed-forward part.
type Activation string

// The activations.
const (
	QuickGELU Activation = "quick_gelu" // x · sigmoid(1.702 x)
	GELU      Activation = "gelu"       // x/2 · (1 + erf(x/√2))
)

// Bounds of what is believed. They are far above the largest model in use, and keep products far from overflow.
const (
	maxWidth     = 1 << 16
	maxLayers    = 1 << 9
	maxTokens    = 1 << 20
	maxPositions = 1 << 12
	maxImageSize = 1 << 12
)

// defaultConfig is ViT-B/32, whose sizes a configuration may leave out.
func defaultConfig() Config {
	return Config{
		Projection: 512,
		Text: TextConfig{
			EncoderConfig: EncoderConfig{Hidden: 512, Intermediate: 2048, Layers: 12, Heads: 8, Activation: QuickGELU, NormEps: 1e-5},
			Vocabulary:    49408, Positions: 77, EndToken: 49407,
		},
		Vision: VisionConfig{
			EncoderConfig: EncoderConfig{Hidden: 768, Intermediate: 3072, Layers: 12, Heads: 12, Activation: QuickGELU, NormEps: 1e-5},
			ImageSize:     224, PatchSize: 32, Channels: 3,
		},
	}
}

// ReadConfig reads and checks config.json. An error names every setting that cannot be used, with its bounds.
func ReadConfig(files Files) (Config, error) {
	config := defaultConfig()
	file := struct {
		*Config
		ModelType        *string         `json:"model_type"`
		TextOverriding   json.RawMessage `json:"text_config_dict"`
		VisionOverriding json.RawMessage `json:"vision_config_dict"`
	}{Config: &config}
	if err := files.decode(configName, maxSettingsSize, &file); err != nil {
		return Config{}, err
	}
	if file.ModelType != nil && *file.ModelType != "clip" {
		return Config{}, fmt.Errorf("%s: model_type is %q, want \"clip\"", configName, *file.ModelType)
	}
	if err := config.override(file.TextOverriding, file.VisionOverriding); err != nil {
		return Config{}, fmt.Errorf("%s: %w", configName, err)
	}
	if err := config.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", configName, err)
	}
	return config, nil
}

// override takes the two parts that old configurations have beside the others: each replaces its part as a whole.
func (c *Config) override(text, vision json.RawMessage) error {
	if given(text) {
		c.Text = defaultConfig().Text
		if err := json.Unmarshal(text, &c.Text); err != nil {
			return fmt.Errorf("text_config_dict: %w", err)
		}
	}
	if given(vision) {
		c.Vision = defaultConfig().Vision
		if err := json.Unmarshal(vision, &c.Vision); err != nil {
			return fmt.Errorf("vision_config_dict: %w", err)
		}
	}
	return nil
}

func given(value json.RawMessage) bool { return len(value) > 0 && string(value) != "null" }

// Validate lists every setting that cannot be used, with its value and its bounds.
func (c Config) Validate() error {
	var p problems
	p.between("projection_dim", c.Projection, 1, maxWidth)
	p.encoder("text_config", c.Text.EncoderConfig)
	p.between("text_config.vocab_size", c.Text.Vocabulary, 1, maxTokens)
	p.between("text_config.max_position_embeddings", c.Text.Positions, 2, maxPositions)
	p.between("text_config.eos_token_id", int(c.Text.EndToken), 0, c.Text.Vocabulary-1)
	p.encoder("vision_config", c.Vision.EncoderConfig)
	p.between("vision_config.image_size", c.Vision.ImageSize, 1, maxImageSize)
	p.between("vision_config.patch_size", c.Vision.PatchSize, 1, c.Vision.ImageSize)
	p.between("vision_config.num_channels", c.Vision.Channels, channels, channels)
	return p.err()
}

// patches is the number of patches along a side of a picture; what is left at its end is not seen.
func (c VisionConfig) patches() int { return c.ImageSize / c.PatchSize }

// problems collects what is wrong with settings.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func (p *problems) between(name string, value, low, high int) {
	if value < low || value > high {
		p.add("%s is %d, want %d … %d", name, value, low, high)
	}
}

func (p *problems) encoder(part string, c EncoderConfig) {
	p.between(part+".hidden_size", c.Hidden, 1, maxWidth)
	p.between(part+".intermediate_size", c.Intermediate, 1, maxWidth)
	p.between(part+".num_hidden_layers", c.Layers, 1, maxLayers)
	p.between(part+".num_attention_heads", c.Heads, 1, maxWidth)
	if c.Heads > 0 && c.Hidden%c.Heads != 0 {
		p.add("%s.hidden_size is %d, want a multiple of the %d heads", part, c.Hidden, c.Heads)
	}
	if c.Activation != QuickGELU && c.Activation != GELU {
		p.add("%s.hidden_act is %q, want %q or %q", part, c.Activation, QuickGELU, GELU)
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		p.add("%s.layer_norm_eps is %v, want more than 0 and less than 1", part, c.NormEps)
	}
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return errors.New(strings.Join(p, "; "))
}
