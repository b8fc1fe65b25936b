package features

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

const (
	attributesVersion = 1
	maxWidth          = 1 << 16 // components of a vector
	absentWidth       = 1       // components of the image vectors that nobody has; a list of fixed length needs one
)

// itemID is what is read of an item.
type itemID struct {
	ID   int32  `arrow:"id"`
	Item string `arrow:"item"`
}

// Attributes is the stage kind features.attributes.
type Attributes struct {
	Items    stages.In[itemID]           `stage:"items" doc:"the items to describe"`
	Source   stages.Source               `stage:"source" doc:"JSON files, each an object of the items' lists of attributes"`
	Weights  string                      `stage:"weights" default:"multi_hot" enum:"multi_hot,tf_idf" doc:"multi_hot: all attributes of an item weigh the same; tf_idf: the rarer the more"`
	Size     int64                       `stage:"size" default:"0" min:"0" max:"65536" unit:"components" doc:"length of the vectors that attributes are hashed into; 0: a component for each attribute"`
	Features stages.Out[tables.Features] `stage:"features" doc:"one row an item, in the items' order; attributes are the text"`
}

func attributesKind() stages.Kind {
	return stages.Declare[Attributes]("features.attributes", attributesVersion,
		"published attribute lists of items as their text vectors").WithDoc(attributesDoc, `
[stages.features]
kind   = "features.attributes"
items  = "corpus.items"
source = "Beauty_item2attributes.json"`)
}

const attributesDoc = `
Reads JSON objects {"1": [18, 202], "2": [7]}, an item's external id and the numbers of
its attributes (category, brand, …), as S3-Rec publishes them beside its sequences;
gzip-compressed or not. Pictures are absent.

The attributes that some item has are the components, sorted by their numbers; with
size they are hashed with signs into that many instead (Weinberger et al., 2009). With
weights = "tf_idf" an attribute that d of n described items have weighs
1 + ln((1+n)/(1+d)). Vectors are L2-normalised.

An item without a list, or with an empty one, has no text: its vector is zero and the
mask says so. An attribute that a list repeats counts once. Lists of items that are not
in items are left out; the report counts them. Broken JSON, an item with two lists, and
attributes that are no whole numbers from 0 are errors with file, line and column.`

// Run reads the lists and writes a row for every item.
func (s *Attributes) Run(ctx context.Context, env *stages.Env) error {
	items, err := s.Items.All()
	if err != nil {
		return fmt.Errorf("reading items: %w", err)
	}
	lists, err := readAttributes(ctx, env, s.Source.Files())
	if err != nil {
		return err
	}
	lists.reportUnknown(env, items)
	space, err := s.space(items, lists)
	if err != nil {
		return err
	}
	out, err := s.Features.Create(table.WithWidth("image", absentWidth), table.WithWidth("text", space.width))
	if err != nil {
		return err
	}
	defer out.Abort()
	withText := 0
	for _, item := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := tables.Features{ID: item.ID, Item: item.Item, Image: make([]float32, absentWidth)}
		row.Text, row.TextPresent = space.vector(lists.of[item.Item])
		withText += count(row.TextPresent)
		if err := out.Append(row); err != nil {
			return err
		}
	}
	env.Count("items", float64(len(items)))
	env.Count("items_with_text", float64(withText))
	env.Count("items_without_text", float64(len(items)-withText))
	env.Count("attributes", float64(len(space.weight)))
	env.Count("repeated_attributes", float64(lists.repeated))
	return out.Close()
}

// reportUnknown counts the lists that belong to none of the items.
func (l *attributeLists) reportUnknown(env *stages.Env, items []itemID) {
	known := make(map[string]bool, len(items))
	for _, item := range items {
		known[item.Item] = true
	}
	unknown := slices.DeleteFunc(slices.Clone(l.items), func(item string) bool { return known[item] })
	if len(unknown) > 0 {
		env.Log.Warn().Int("lists", len(unknown)).Str("first", unknown[0]).Msg("attribute lists of items that are not in items are left out")
	}
	env.Count("unknown_items", float64(len(unknown)))
}

// An attributeSpace is where the attributes lie in the vectors.
type attributeSpace struct {
	width     int
	component map[int32]int // of each attribute; nil where they are hashed
	weight    map[int32]float64
}

func (s *Attributes) space(items []itemID, lists *attributeLists) (attributeSpace, error) {
	described, frequency := 0, map[int32]int{}
	for _, item := range items {
		attributes := lists.of[item.Item]
		described += count(len(attributes) > 0)
		for _, attribute := range attributes {
			frequency[attribute]++
		}
	}
	if described == 0 {
		return attributeSpace{}, errors.New("the source has attributes of none of the items: is it that of these items?")
	}
	space := attributeSpace{width: int(s.Size), weight: map[int32]float64{}}
	for attribute, n := range frequency {
		space.weight[attribute] = 1
		if s.Weights == "tf_idf" {
			space.weight[attribute] += math.Log(float64(1+described) / float64(1+n))
		}
	}
	if space.width > 0 {
		return space, nil
	}
	if space.width = len(frequency); space.width > maxWidth {
		return space, fmt.Errorf("the items have %d attributes, and a vector at most %d components: set size", space.width, maxWidth)
	}
	space.component = map[int32]int{}
	for i, attribute := range slices.Sorted(maps.Keys(frequency)) {
		space.component[attribute] = i
	}
	return space, nil
}

// vector is that of an item with these attributes. It reports false where it
// has no length, be it by attributes that cancel one another when hashed.
func (s attributeSpace) vector(attributes []int32) ([]float32, bool) {
	a := newAccumulator(s.width)
	for _, attribute := range attributes {
		if s.component == nil {
			a.put("attribute "+strconv.Itoa(int(attribute)), s.weight[attribute])
			continue
		}
		a.vector[s.component[attribute]] = s.weight[attribute]
	}
	return a.normalised()
}
