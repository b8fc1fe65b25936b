package features

import (
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/features/vectors"
	"github.com/prismflow/prismflow/stages/tables"
)

const importVersion = 1

// Import is the stage kind features.import.
type Import struct {
	Items stages.In[itemID] `stage:"items" doc:"the items to describe"`

	Image    stages.Source `stage:"image" optional:"true" doc:"files of the pictures' vectors: .npy, safetensors, Parquet or Arrow"`
	Text     stages.Source `stage:"text" optional:"true" doc:"files of the texts' vectors, in the same formats"`
	IDs      stages.Source `stage:"ids" optional:"true" doc:"for .npy and safetensors: whose vector each row is, one external item id a line or a JSON list"`
	ImageIDs stages.Source `stage:"image_ids" optional:"true" doc:"the same for the pictures' rows alone, instead of ids"`
	TextIDs  stages.Source `stage:"text_ids" optional:"true" doc:"the same for the texts' rows alone, instead of ids"`

	ImageTensor string `stage:"image_tensor" optional:"true" doc:"name of the pictures' tensor in safetensors that have several"`
	TextTensor  string `stage:"text_tensor" optional:"true" doc:"name of the texts' tensor in safetensors that have several"`
	ItemColumn  string `stage:"item_column" default:"item" doc:"column of external item ids in Parquet and Arrow: text or whole numbers"`
	ImageColumn string `stage:"image_column" default:"image" doc:"column of the pictures' vectors in Parquet and Arrow: lists of float32 or float64"`
	TextColumn  string `stage:"text_column" default:"text" doc:"column of the texts' vectors in Parquet and Arrow"`
	Normalise   bool   `stage:"normalise" default:"true" doc:"divide each vector by its length"`

	Features stages.Out[tables.Features] `stage:"features" doc:"one row an item, in the items' order"`
}

func importKind() stages.Kind {
	return stages.Declare[Import]("features.import", importVersion,
		"vectors of items from a team's own encoder").WithDoc(importDoc, `
[stages.features]
kind  = "features.import"
items = "corpus.items"
image = "../data/image.npy"
text  = "../data/text.npy"
ids   = "../data/ids.txt"       # row 0 is about the first id, and so on`)
}

const importDoc = `
Reads the vectors of pictures, of texts, or both, one a row, and gives each item its
own. Which format a file has is told by its first bytes:

  .npy          versions 1 and 2: a matrix of little-endian floats of 2, 4 or 8 bytes,
                stored by rows. Pickled Python objects are never read.
  safetensors   a matrix of F16, BF16, F32 or F64; image_tensor and text_tensor name it
                where the file has several.
  Parquet,      a column of item ids (item_column) beside one of vectors (image_column,
  Arrow         text_column): lists of float32 or float64, of fixed length or not.
                Image and text may be the same file.

A matrix does not say whose vector a row is; ids does, for both modalities or, as
image_ids and text_ids, for one: a text file with an external id on each line, or a JSON
list of them. Row i belongs to the i-th id, and there must be as many of one as of the
other. A source may be several files, one behind the other.

Every row is checked, those of unknown items too: an item with two vectors, vectors of
different lengths, NaN and infinities are errors that name the rows (from 0) and the
component. Vectors of ids that are not in items are left out; the report counts them and
the log names the first. An item without a vector, with a null or empty one, or with one
of zeros has none: its vector is zero and the mask says so; zeros are counted. When a
source describes none of the items, that is an error.

Vectors are L2-normalised; normalise = false leaves them as they are, as float32.

Memory: the vectors of the items, and all ids of the sources.`

// Validate checks that there is something to import.
func (s *Import) Validate() []stages.Problem {
	var problems []stages.Problem
	if !s.Image.Given() && !s.Text.Given() {
		problems = append(problems, stages.Problem{Message: "needs image or text: the files of vectors"})
	}
	for _, ids := range []struct {
		param  string
		ids    stages.Source
		vector stages.Source
		of     string
	}{{"image_ids", s.ImageIDs, s.Image, "image"}, {"text_ids", s.TextIDs, s.Text, "text"}} {
		if ids.ids.Given() && !ids.vector.Given() {
			problems = append(problems, stages.Problem{Param: ids.param, Message: "is for the rows of " + ids.of + ", which is not set"})
		}
	}
	return problems
}

// Run reads the vectors and writes a row for every item.
func (s *Import) Run(ctx context.Context, env *stages.Env) error {
	items, err := s.Items.All()
	if err != nil {
		return fmt.Errorf("reading items: %w", err)
	}
	of := make(map[string]int, len(items))
	for i, item := range items {
		of[item.Item] = i
	}
	image, err := s.modality(ctx, env, of, modality{
		name: "image", files: s.Image.Files(), ids: s.ImageIDs.Files(),
		options: vectors.Options{Tensor: s.ImageTensor, ItemColumn: s.ItemColumn, VectorColumn: s.ImageColumn},
	})
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	text, err := s.modality(ctx, env, of, modality{
		name: "text", files: s.Text.Files(), ids: s.TextIDs.Files(),
		options: vectors.Options{Tensor: s.TextTensor, ItemColumn: s.ItemColumn, VectorColumn: s.TextColumn},
	})
	if err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if len(s.IDs.Files()) > 0 && !image.sharedIDs && !text.sharedIDs {
		return errors.New("ids is not needed: all files of vectors have ids of their own")
	}
	return s.write(ctx, env, items, image, text)
}

func (s *Import) write(ctx context.Context, env *stages.Env, items []itemID, image, text *imported) error {
	out, err := s.Features.Create(table.WithWidth("image", image.width), table.WithWidth("text", text.width))
	if err != nil {
		return err
	}
	defer out.Abort()
	withImage, withText := 0, 0
	for i, item := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := tables.Features{ID: item.ID, Item: item.Item}
		row.Image, row.ImagePresent = image.of(i)
		row.Text, row.TextPresent = text.of(i)
		withImage += count(row.ImagePresent)
		withText += count(row.TextPresent)
		if err := out.Append(row); err != nil {
			return err
		}
	}
	env.Count("items", float64(len(items)))
	env.Count("items_with_image", float64(withImage))
	env.Count("items_with_text", float64(withText))
	return out.Close()
}
