package clip

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func configFrom(t testing.TB, text string) (Config, error) {
	t.Helper()
	return ReadConfig(Files{configName: writeFile(t, t.TempDir(), configName, text)})
}

func TestConfigs(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       func(*Config)
	}{
		{"of B/32", `{}`, func(*Config) {}},
		{"of B/16", `{"model_type": "clip", "vision_config": {"patch_size": 16}, "text_config": null}`, func(c *Config) { c.Vision.PatchSize = 16 }},
		{"of L/14, in the old form", `{"projection_dim": 768, "text_config": {"hidden_size": 64, "num_attention_heads": 3},
			"text_config_dict": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
			"vision_config_dict": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14}}`,
			func(c *Config) {
				c.Projection = 768
				c.Text.Hidden, c.Text.Intermediate, c.Text.Heads = 768, 3072, 12
				c.Vision.Hidden, c.Vision.Intermediate, c.Vision.Heads, c.Vision.Layers, c.Vision.PatchSize = 1024, 4096, 16, 24, 14
			}},
		{"of OpenCLIP", `{"text_config": {"hidden_act": "gelu", "eos_token_id": 2}, "vision_config": {"hidden_act": "gelu"}}`, func(c *Config) {
			c.Text.Activation, c.Vision.Activation, c.Text.EndToken = GELU, GELU, LegacyEndToken
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := defaultConfig()
			test.want(&want)
			if got, err := configFrom(t, test.text); err != nil || got != want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestConfigSurvivesWriting(t *testing.T) {
	want := tinyConfig(GELU)
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := configFrom(t, string(text)); err != nil || got != want {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestBrokenConfigs(t *testing.T) {
	for text, says := range map[string][]string{
		``:                          {"config.json"},
		`[]`:                        {"config.json"},
		`{"model_type": "siglip"}`:  {`model_type is "siglip", want "clip"`},
		`{"projection_dim": 1e3}`:   {"projection_dim"},
		`{"text_config_dict": [1]}`: {"text_config_dict"},
		`{"projection_dim": 0, "text_config": {"hidden_size": 99999999999, "num_hidden_layers": -1, "num_attention_heads": 0, "vocab_size": 2097152},
			"vision_config": {"hidden_size": 770, "hidden_act": "gelu_new", "layer_norm_eps": 1, "patch_size": 225, "num_channels": 1}}`: {
			"projection_dim is 0, want 1 …", "text_config.hidden_size is 99999999999", "text_config.num_hidden_layers is -1",
			"text_config.num_attention_heads is 0", "text_config.vocab_size is 2097152", "vision_config.hidden_size is 770, want a multiple of the 12 heads",
			`vision_config.hidden_act is "gelu_new", want "quick_gelu" or "gelu"`, "vision_config.layer_norm_eps is 1",
			"vision_config.patch_size is 225, want 1 … 224", "vision_config.num_channels is 1, want 3 … 3",
		},
		`{"a": "` + strings.Repeat("x", maxSettingsSize) + `"}`: {"more than the 1048576 bytes"},
	} {
		_, err := configFrom(t, text)
		for _, s := range says {
			wantError(t, text[:min(len(text), 60)], err, s)
		}
	}
	if _, err := ReadConfig(Files{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}

// FuzzSettings: whatever the files of settings are, they are an error or usable.
func FuzzSettings(f *testing.F) {
	for _, name := range []string{configName, preprocessName} {
		text, err := os.ReadFile(goldenFiles(f)[name])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(`{"size": {"shortest_edge": 9}, "crop_size": {"height": 8, "width": 9}, "text_config_dict": {"vocab_size": 7}}`)
	f.Fuzz(func(t *testing.T, text string) {
		path := writeFile(t, t.TempDir(), "settings", text)
		if config, err := ReadConfig(Files{configName: path}); err == nil {
			if err := config.Validate(); err != nil {
				t.Error(err)
			}
			config.layout()
		}
		if _, err := OpenTokenizer(Files{vocabularyName: path, mergesName: path}); err == nil {
			t.Error("settings are a vocabulary")
		}
		p, err := ReadPreprocess(Files{preprocessName: path})
		if c, h, w := p.Shape(); err == nil && p.Resize && h*w < 1<<16 {
			if err := p.Pixels(make([]float32, c*h*w), make([]byte, 3*5*4), 5, 4); err != nil {
				t.Error(err)
			}
		}
	})
}
