package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/model/safetensors"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

// Metadata of the files. Several libraries refuse a file that does not say by
// format whose layout of tensors it has; "pt", PyTorch's, is plain row-major.
const (
	formatKey   = "format"
	torchFormat = "pt"
	configKey   = "config"
	itemIDsKey  = "item_ids"
)

var errNoTensors = usageError{errors.New("safetensors holds tensors, which only a model and features have: export this table as csv or parquet")}

// writeSafetensors writes the model or the features in the Arrow file at path.
func writeSafetensors(w io.Writer, path string) error {
	read, err := tensorReader(path)
	if err != nil {
		return err
	}
	metadata, tensors, err := read(path)
	if err != nil {
		return fmt.Errorf("exporting to safetensors: %w", err)
	}
	return safetensors.Write(w, metadata, tensors)
}

// tensorReader is what reads a table of such columns.
func tensorReader(path string) (func(string) (map[string]string, []safetensors.Tensor, error), error) {
	f, err := table.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch {
	case table.CheckColumns(f.Schema(), table.SchemaOf[tables.ModelPart]()) == nil:
		return modelTensors, nil
	case table.CheckColumns(f.Schema(), table.SchemaOf[tables.Features]()) == nil:
		return featureTensors, nil
	}
	return nil, errNoTensors
}

// modelTensors are a model's tensors under their names; its configuration and
// the external ids of its items, that of item i at i-1, are metadata.
func modelTensors(path string) (map[string]string, []safetensors.Tensor, error) {
	parts, err := table.ReadAll[tables.ModelPart](path)
	if err != nil {
		return nil, nil, err
	}
	model, err := train.DecodeModel(parts)
	if err != nil {
		return nil, nil, err
	}
	config, err := model.ConfigJSON()
	if err != nil {
		return nil, nil, err
	}
	metadata := map[string]string{formatKey: torchFormat, configKey: string(config)}
	if model.ItemIDs != nil {
		if metadata[itemIDsKey], err = jsonText(model.ItemIDs); err != nil {
			return nil, nil, err
		}
	}
	tensors := make([]safetensors.Tensor, len(model.Tensors))
	for i, t := range model.Tensors {
		shape := make([]int, len(t.Shape))
		for axis, n := range t.Shape {
			shape[axis] = int(n)
		}
		tensors[i] = safetensors.FromFloat32(t.Name, shape, t.Values)
	}
	return metadata, tensors, nil
}

// featureTensors are, with a row for each row of the table: ids, and of each
// modality the vectors and a mask, 0 or 1. External ids are metadata.
func featureTensors(path string) (map[string]string, []safetensors.Tensor, error) {
	var ids []int64
	items := []string{}
	image, text := exportedVectors{name: "image"}, exportedVectors{name: "text"}
	for row, err := range table.Rows[tables.Features](path) {
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, int64(row.ID))
		items = append(items, row.Item)
		image.add(row.Image, row.ImagePresent)
		text.add(row.Text, row.TextPresent)
	}
	itemIDs, err := jsonText(items)
	if err != nil {
		return nil, nil, err
	}
	tensors := []safetensors.Tensor{safetensors.FromInt64("ids", []int{len(ids)}, ids)}
	tensors = append(tensors, image.tensors()...)
	tensors = append(tensors, text.tensors()...)
	return map[string]string{formatKey: torchFormat, itemIDsKey: itemIDs}, tensors, nil
}

// exportedVectors are one modality's, row by row.
type exportedVectors struct {
	name    string
	size    int
	values  []float32
	present []byte
}

func (v *exportedVectors) add(vector []float32, present bool) {
	v.size = len(vector) // the same in every row of a table
	v.values = append(v.values, vector...)
	mask := byte(0)
	if present {
		mask = 1
	}
	v.present = append(v.present, mask)
}

func (v *exportedVectors) tensors() []safetensors.Tensor {
	rows := len(v.present)
	return []safetensors.Tensor{
		safetensors.FromFloat32(v.name, []int{rows, v.size}, v.values),
		{Info: safetensors.Info{Name: v.name + "_present", DType: safetensors.U8, Shape: []int{rows}}, Data: v.present},
	}
}

func jsonText(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}
