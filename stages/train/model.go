package train

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/stages/tables"
)

// A model table has one row named configName, JSON of configuration, and one
// row a tensor.
const (
	configName  = "config"
	modelFormat = 1
)

type configuration struct {
	Format int          `json:"format"`
	Model  prism.Config `json:"model"`
}

// EncodeModel makes the rows of a model table: the configuration first, then
// the tensors by name.
func EncodeModel(model prism.Snapshot) ([]tables.ModelPart, error) {
	text, err := json.Marshal(configuration{modelFormat, model.Config})
	if err != nil {
		return nil, fmt.Errorf("encoding a model's configuration: %w", err)
	}
	parts := []tables.ModelPart{{Name: configName, Type: "json", Shape: []int64{}, Data: text}}
	for _, t := range model.Tensors {
		data := make([]byte, 0, 4*len(t.Values))
		for _, v := range t.Values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		parts = append(parts, tables.ModelPart{Name: t.Name, Type: "float32", Shape: t.Shape, Data: data})
	}
	return parts, nil
}

// DecodeModel reads the rows of a model table, in any order. Whether the
// tensors are those that the configuration needs is for prism.Load to say.
func DecodeModel(parts []tables.ModelPart) (prism.Snapshot, error) {
	var model prism.Snapshot
	configured := false
	for _, part := range parts {
		if part.Name == configName {
			if err := decodeConfig(part, &model.Config); err != nil {
				return model, err
			}
			configured = true
			continue
		}
		t, err := decodeTensor(part)
		if err != nil {
			return model, err
		}
		model.Tensors = append(model.Tensors, t)
	}
	if !configured {
		return model, fmt.Errorf("decoding a model: none of its %d rows is named %q", len(parts), configName)
	}
	return model, nil
}

func decodeConfig(part tables.ModelPart, config *prism.Config) error {
	var c configuration
	if err := json.Unmarshal(part.Data, &c); err != nil {
		return fmt.Errorf("decoding a model's configuration: %w", err)
	}
	if c.Format != modelFormat {
		return fmt.Errorf("decoding a model: its format is %d, and this version reads %d", c.Format, modelFormat)
	}
	*config = c.Model
	return nil
}

func decodeTensor(part tables.ModelPart) (prism.Tensor, error) {
	if part.Type != "float32" || len(part.Data)%4 != 0 {
		return prism.Tensor{}, fmt.Errorf("decoding a model: %s is %d bytes of type %q: want float32", part.Name, len(part.Data), part.Type)
	}
	t := prism.Tensor{Name: part.Name, Shape: part.Shape, Values: make([]float32, len(part.Data)/4)}
	for i := range t.Values {
		t.Values[i] = math.Float32frombits(binary.LittleEndian.Uint32(part.Data[4*i:]))
	}
	return t, nil
}
