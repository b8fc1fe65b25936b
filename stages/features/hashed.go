package features

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

const hashedVersion = 1

// itemText is what is read of an item.
type itemText struct {
	ID          int32    `arrow:"id"`
	Item        string   `arrow:"item"`
	Title       string   `arrow:"title"`
	Description string   `arrow:"description"`
	Brand       string   `arrow:"brand"`
	Categories  []string `arrow:"categories"`
}

// imageBytes is what is read of a picture.
type imageBytes struct {
	Item  string `arrow:"item"`
	Bytes []byte `arrow:"bytes"`
}

// Hashed is the stage kind features.hashed.
type Hashed struct {
	Items          stages.In[itemText]         `stage:"items" doc:"the items to describe"`
	Images         stages.In[imageBytes]       `stage:"images" optional:"true" doc:"their pictures, by external item id"`
	Width          int64                       `stage:"width" default:"512" min:"1" max:"65536" unit:"components" doc:"length of each vector"`
	WordNgrams     int64                       `stage:"word_ngrams" default:"2" min:"0" max:"5" unit:"words" doc:"longest word n-gram of the text; 0 for none"`
	CharNgramsFrom int64                       `stage:"char_ngrams_from" default:"3" min:"1" max:"10" unit:"characters" doc:"shortest character n-gram"`
	CharNgrams     int64                       `stage:"char_ngrams" default:"4" min:"0" max:"10" unit:"characters" doc:"longest character n-gram; 0 for none"`
	Features       stages.Out[tables.Features] `stage:"features" doc:"one row an item, in the items' order"`
}

func hashedKind() stages.Kind {
	return stages.Declare[Hashed]("features.hashed", hashedVersion,
		"vectors of items by feature hashing of text and picture, without pretrained weights").WithDoc(hashedDoc, `
[stages.features]
kind   = "features.hashed"
items  = "corpus.items"
images = "images.images"   # optional
width  = 512`)
}

const hashedDoc = `
Each item gets one float32 vector for its text and one for its picture,
L2-normalised. The text is title, description, brand and category path; its word
and character n-grams are hashed with signs into the vector (Weinberger et al.,
2009) with weight 1 + ln(count). Of the picture, histograms of colour and of
gradient orientation are hashed the same way. An item without text, or without a
picture that can be decoded, has a zero vector there and the mask says so.

Similar words give similar vectors, meaning does not: it is the baseline that a
pretrained encoder has to beat, and needs nothing to be downloaded.`

// Validate checks the range of character n-grams.
func (h *Hashed) Validate() []stages.Problem {
	if h.CharNgrams > 0 && h.CharNgramsFrom > h.CharNgrams {
		return []stages.Problem{{Param: "char_ngrams_from", Message: fmt.Sprintf("must be at most char_ngrams (%d), not %d", h.CharNgrams, h.CharNgramsFrom)}}
	}
	if h.CharNgrams == 0 && h.WordNgrams == 0 {
		return []stages.Problem{{Param: "word_ngrams", Message: "word_ngrams and char_ngrams cannot both be 0"}}
	}
	return nil
}

// Run hashes every item.
func (h *Hashed) Run(ctx context.Context, env *stages.Env) error {
	items, err := h.Items.All()
	if err != nil {
		return err
	}
	pictures, err := h.pictures(ctx, env)
	if err != nil {
		return err
	}
	width := int(h.Width)
	out, err := h.Features.Create(table.WithWidth("image", width), table.WithWidth("text", width))
	if err != nil {
		return err
	}
	var withText, withImage int
	for i, item := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := tables.Features{ID: item.ID, Item: item.Item, Image: make([]float32, width)}
		row.Text, row.TextPresent = h.text(item)
		if vector, ok := pictures[item.Item]; ok {
			row.Image, row.ImagePresent = vector, true
		}
		withText += count(row.TextPresent)
		withImage += count(row.ImagePresent)
		if err := out.Append(row); err != nil {
			return err
		}
		env.Progress(int64(i+1), int64(len(items)), "items")
	}
	env.Count("items", float64(len(items)))
	env.Count("items_with_text", float64(withText))
	env.Count("items_with_image", float64(withImage))
	return out.Close()
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (h *Hashed) text(item itemText) ([]float32, bool) {
	a := newAccumulator(int(h.Width))
	grams := ngrams{words: int(h.WordNgrams), charsFrom: int(h.CharNgramsFrom), charsUntil: int(h.CharNgrams)}
	grams.hashText(a, tables.ItemText(item.Title, item.Description, item.Brand, item.Categories))
	return a.normalised()
}

// pictures are the vectors of the pictures by external item id.
func (h *Hashed) pictures(ctx context.Context, env *stages.Env) (map[string][]float32, error) {
	vectors := map[string][]float32{}
	if !h.Images.Present() {
		return vectors, nil
	}
	broken := 0
	for image, err := range h.Images.Rows() {
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(image.Bytes) == 0 {
			continue
		}
		if _, twice := vectors[image.Item]; twice {
			return nil, fmt.Errorf("item %s has two pictures", image.Item)
		}
		picture, err := decodePicture(image.Bytes)
		if err != nil {
			env.Log.Warn().Str("item", image.Item).Err(err).Msg("picture cannot be decoded and counts as absent")
			broken++
			continue
		}
		a := newAccumulator(int(h.Width))
		hashPicture(a, picture)
		vectors[image.Item], _ = a.normalised()
	}
	env.Count("images_not_decoded", float64(broken))
	return vectors, nil
}
