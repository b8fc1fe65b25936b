package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/stages/tables"
)

// A model table has one row named configName, JSON of configuration, where the
// items' external ids are known one named itemsName, a JSON array of them in the
// order of the internal ids, and one row a tensor.
const (
	configName  = "config"
	itemsName   = "item_ids"
	jsonType    = "json"
	modelFormat = 2
)

// Model is what a model table holds, which is all that using the model takes.
type Model struct {
	prism.Snapshot
	ItemIDs []string // external ids, that of item i at i-1; nil where the model was trained without them
}

type configuration struct {
	Format int          `json:"format"`
	Model  prism.Config `json:"model"`
}

// ConfigJSON is the configuration as a model table has it, with the table's
// format.
func (m Model) ConfigJSON() ([]byte, error) {
	text, err := json.Marshal(configuration{modelFormat, m.Config})
	if err != nil {
		return nil, fmt.Errorf("encoding a model's configuration: %w", err)
	}
	return text, nil
}

// EncodeModel makes the rows of a model table: the configuration first, then
// the items' external ids if they are known, then the tensors as they come.
func EncodeModel(model Model) ([]tables.ModelPart, error) {
	text, err := model.ConfigJSON()
	if err != nil {
		return nil, err
	}
	parts := []tables.ModelPart{{Name: configName, Type: jsonType, Shape: []int64{}, Data: text}}
	if model.ItemIDs != nil {
		ids, err := json.Marshal(model.ItemIDs)
		if err != nil {
			return nil, fmt.Errorf("encoding a model's item ids: %w", err)
		}
		parts = append(parts, tables.ModelPart{Name: itemsName, Type: jsonType, Shape: []int64{}, Data: ids})
	}
	for _, t := range model.Tensors {
		data := make([]byte, 0, 4*len(t.Values))
		for _, v := range t.Values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		parts = append(parts, tables.ModelPart{Name: t.Name, Type: "float32", Shape: t.Shape, Data: data})
	}
	return parts, nil
}

// DecodeModel reads the rows of a model table, in any order, with or without
// external ids. Whether the tensors are those that the configuration needs is
// for prism.Load to say.
func DecodeModel(parts []tables.ModelPart) (Model, error) {
	var model Model
	configured := false
	for _, part := range parts {
		var err error
		switch part.Name {
		case configName:
			configured = true
			err = decodeConfig(part, &model.Config)
		case itemsName:
			model.ItemIDs, err = decodeItems(part)
		default:
			var t prism.Tensor
			t, err = decodeTensor(part)
			model.Tensors = append(model.Tensors, t)
		}
		if err != nil {
			return Model{}, err
		}
	}
	if !configured {
		return Model{}, fmt.Errorf("decoding a model: none of its %d rows is named %q", len(parts), configName)
	}
	if n := len(model.ItemIDs); model.ItemIDs != nil && n != model.Config.Items {
		return Model{}, fmt.Errorf("decoding a model: %d external ids for %d items", n, model.Config.Items)
	}
	return model, nil
}

func decodeConfig(part tables.ModelPart, config *prism.Config) error {
	var c configuration
	if err := json.Unmarshal(part.Data, &c); err != nil {
		return fmt.Errorf("decoding a model's configuration: %w", err)
	}
	switch c.Format {
	case 1: // had no choice of it
		c.Model.DirectSum = true
	case modelFormat:
	default:
		return fmt.Errorf("decoding a model: its format is %d, and this version reads 1…%d", c.Format, modelFormat)
	}
	*config = c.Model
	return nil
}

func decodeItems(part tables.ModelPart) ([]string, error) {
	var ids []string
	if err := json.Unmarshal(part.Data, &ids); err != nil {
		return nil, fmt.Errorf("decoding a model's item ids: %w", err)
	}
	if ids == nil { // of JSON's null
		return nil, errors.New("decoding a model's item ids: null: want a list of texts")
	}
	return ids, nil
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
