package features

import (
	"context"
	"fmt"
	"math"
	"runtime"

	"github.com/sourcegraph/conc/stream"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
	"github.com/prismflow/prismflow/stages/tables"
)

const hashedVersion = 2

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
	Decoder        string                      `stage:"decoder" default:"auto" enum:"auto,native,go" doc:"of pictures: native is libjpeg-turbo and libwebp, auto is what of them is there and Go's decoders for the rest; the key holds which they were"`
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
gradient orientation are hashed the same way; JPEG, PNG, GIF (the first frame) and
WebP are decoded, by as many cores as there are. An item without text, or without a
picture that can be decoded, has a zero vector there and the mask says so; pictures
that cannot be decoded are counted. Of several pictures of an item the vector is the mean
of theirs, L2-normalised.

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

// Chosen is the decoder that pictures are decoded by: the colours that are
// sampled depend on it.
func (h *Hashed) Chosen() map[string]any {
	return map[string]any{"decoder": picture.NameOf(h.Decoder)}
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
	if !h.Images.Present() {
		return nil, nil
	}
	decoder, err := picture.Open(h.Decoder)
	if err != nil {
		return nil, err
	}
	for library, version := range decoder.Versions() {
		env.Version(library, version)
	}
	found := pictureVectors{env: env, vectors: map[string][]float32{}, several: map[string]bool{}}
	workers := stream.New().WithMaxGoroutines(runtime.GOMAXPROCS(0))
	err = h.eachPicture(ctx, func(image imageBytes) {
		workers.Go(func() stream.Callback {
			vector, err := h.picture(decoder, image.Bytes)
			return func() { found.add(image.Item, vector, err) }
		})
	})
	workers.Wait()
	if err != nil {
		return nil, err
	}
	found.finish()
	found.report()
	return found.vectors, nil
}

func (h *Hashed) eachPicture(ctx context.Context, do func(imageBytes)) error {
	for image, err := range h.Images.Rows() {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(image.Bytes) > 0 {
			do(image)
		}
	}
	return nil
}

func (h *Hashed) picture(decoder *picture.Decoder, data []byte) ([]float32, error) {
	a := newAccumulator(int(h.Width))
	err := decoder.Use(data, picture.Limits{}, func(decoded picture.RGB) error {
		hashPicture(a, decoded)
		return nil
	})
	if err != nil {
		return nil, err
	}
	vector, _ := a.normalised()
	return vector, nil
}

// toldPictures bounds the warnings: of a whole catalogue in a format that is not
// decoded the beginning says enough.
const toldPictures = 10

// pictureVectors are what is known of the pictures so far. It is added to in the
// order of the rows, by one goroutine at a time.
type pictureVectors struct {
	env     *stages.Env
	vectors map[string][]float32
	several map[string]bool // items whose vector is a sum
	broken  int
}

func (v *pictureVectors) add(item string, vector []float32, err error) {
	if err != nil {
		if v.broken++; v.broken <= toldPictures {
			v.env.Log.Warn().Str("item", item).Err(err).Msg("picture cannot be decoded and counts as absent")
		}
		return
	}
	if sum, more := v.vectors[item]; more {
		v.several[item] = true
		for i, x := range vector {
			sum[i] += x
		}
	} else {
		v.vectors[item] = vector
	}
	v.env.Progress(int64(len(v.vectors)), 0, "pictures")
}

// finish makes means of the sums. Vectors that cancel out leave none.
func (v *pictureVectors) finish() {
	for item := range v.several {
		sum, square := v.vectors[item], 0.0
		for _, x := range sum {
			square += float64(x) * float64(x)
		}
		if square == 0 {
			delete(v.vectors, item)
			continue
		}
		for i, x := range sum {
			sum[i] = float32(float64(x) / math.Sqrt(square))
		}
	}
}

func (v *pictureVectors) report() {
	if more := v.broken - toldPictures; more > 0 {
		v.env.Log.Warn().Int("pictures", more).Msg("more pictures cannot be decoded and count as absent")
	}
	v.env.Count("images_not_decoded", float64(v.broken))
}
