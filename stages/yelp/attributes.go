package yelp

import (
	"regexp"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
	"github.com/prismflow/prismflow/stages/records"
)

// An attribute is one of those that Yelp's businesses have, and what it makes a
// description say. In phrase * stands for the value: a word, or of an object
// each key that is true. says has the phrases of values that need one of their
// own, where an empty one says nothing.
type attribute struct {
	name   string
	phrase string
	says   map[string]string
}

// attributes are those that tell something of a business, in the order in which
// they are said: what kind of place it is before what it has, since an encoder
// may read only the beginning.
var attributes = []attribute{
	{name: "RestaurantsPriceRange2", says: map[string]string{"1": "inexpensive", "2": "moderately priced", "3": "pricey", "4": "very expensive"}},
	{name: "Ambience", phrase: "* ambience"},
	{name: "GoodForMeal", phrase: "good for *", says: map[string]string{"latenight": "good for late night"}},
	{name: "DietaryRestrictions", phrase: "* food"},
	{name: "HairSpecializesIn", phrase: "* hair", says: map[string]string{"africanamerican": "African American hair", "straightperms": "straight perms", "perms": "perms", "coloring": "hair coloring", "extensions": "hair extensions", "kids": "hair of kids"}},
	{name: "NoiseLevel", phrase: "*", says: map[string]string{"average": "", "quiet": "quiet", "loud": "loud", "very_loud": "very loud"}},
	{name: "RestaurantsAttire", phrase: "* attire"},
	{name: "Alcohol", phrase: "*"},
	{name: "BYOB", phrase: "bring your own bottle"},
	{name: "BYOBCorkage", says: map[string]string{"yes_free": "bring your own bottle", "yes_corkage": "bring your own bottle for a corkage fee"}},
	{name: "Corkage", phrase: "corkage"},
	{name: "Music", phrase: "*", says: map[string]string{"dj": "DJ", "live": "live music", "video": "music videos", "no_music": "no music"}},
	{name: "BestNights", phrase: "best on *"},
	{name: "HappyHour", phrase: "happy hour"},
	{name: "GoodForDancing", phrase: "good for dancing"},
	{name: "GoodForKids", phrase: "good for kids"},
	{name: "RestaurantsGoodForGroups", phrase: "good for groups"},
	{name: "DogsAllowed", phrase: "dogs allowed"},
	{name: "AgesAllowed", phrase: "*", says: map[string]string{"allages": "all ages", "18plus": "18 and over", "19plus": "19 and over", "21plus": "21 and over"}},
	{name: "Smoking", says: map[string]string{"yes": "smoking", "outdoor": "smoking outdoors"}},
	{name: "OutdoorSeating", phrase: "outdoor seating"},
	{name: "HasTV", phrase: "TV"},
	{name: "WiFi", phrase: "* Wi-Fi"},
	{name: "RestaurantsTakeOut", phrase: "take-out"},
	{name: "RestaurantsDelivery", phrase: "delivery"},
	{name: "DriveThru", phrase: "drive-through"},
	{name: "RestaurantsReservations", phrase: "reservations"},
	{name: "RestaurantsTableService", phrase: "table service"},
	{name: "RestaurantsCounterService", phrase: "counter service"},
	{name: "Caters", phrase: "catering"},
	{name: "ByAppointmentOnly", phrase: "by appointment only"},
	{name: "AcceptsInsurance", phrase: "accepts insurance"},
	{name: "Open24Hours", phrase: "open 24 hours"},
	{name: "CoatCheck", phrase: "coat check"},
	{name: "WheelchairAccessible", phrase: "wheelchair accessible"},
	{name: "BikeParking", phrase: "bike parking"},
	{name: "BusinessParking", phrase: "* parking", says: map[string]string{"lot": "parking lot"}},
	{name: "BusinessAcceptsBitcoin", phrase: "accepts bitcoin"},
	{name: "BusinessAcceptsCreditCards", says: map[string]string{"yes": ""}}, // nearly all do
}

// known is where attributes has each name.
var known = func() map[string]int {
	at := make(map[string]int, len(attributes))
	for i, a := range attributes {
		at[a.name] = i
	}
	return at
}()

// phraseOf is what a value adds to a description, empty for nothing. ok is false
// when the value means nothing here.
func (a attribute) phraseOf(value string) (phrase string, ok bool) {
	if phrase, ok := a.says[value]; ok {
		return phrase, true
	}
	return strings.ReplaceAll(a.phrase, "*", strings.ReplaceAll(value, "_", " ")), a.phrase != ""
}

// unread counts what descriptions leave out because nobody knows what it means.
type unread struct {
	attributes int64  // of unknown names
	first      string // of them
	values     int64  // of known attributes
}

func (u *unread) report(env *stages.Env) {
	env.Count("unknown_attributes", float64(u.attributes))
	env.Count("unread_attribute_values", float64(u.values))
	if u.attributes > 0 {
		env.Log.Warn().Int64("attributes", u.attributes).Str("first", u.first).Msg("attributes of unknown names are left out of the descriptions")
	}
}

// phrases are what the attributes of a business say for it, in the order of
// attributes.
func (u *unread) phrases(rec records.Record) ([]string, error) {
	v := rec.Value("attributes")
	given, ok := v.(pyliteral.Dict)
	if v != nil && !ok {
		return nil, records.FieldErrorf("attributes", "is %s, not an object", records.TypeName(v))
	}
	said := make([][]string, len(attributes))
	for _, entry := range given {
		name, _ := entry.Key.(string)
		at, ok := known[name]
		if !ok {
			if u.attributes++; u.first == "" {
				u.first = name
			}
			continue
		}
		if said[at], ok = attributes[at].phrases(entry.Value); !ok {
			u.values++
		}
	}
	return slices.Concat(said...), nil
}

// phrases are what a value says. ok is false when it cannot be read.
func (a attribute) phrases(value any) (said []string, ok bool) {
	words, ok := affirmed(value)
	for _, word := range words {
		phrase, means := a.phraseOf(word)
		if ok = ok && means; phrase != "" {
			said = append(said, phrase)
		}
	}
	return said, ok
}

// word is a value that stands without the quotes of a literal, as in some
// releases of the data set.
var word = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)

// affirmed are the words of a value that says yes to something: of a word
// itself, of an object its keys that are true, sorted, of a plain true "yes". ok
// is false when it cannot be read.
func affirmed(value any) (words []string, ok bool) {
	text, isText := value.(string)
	if isText {
		literal, err := pyliteral.Parse([]byte(text))
		switch {
		case err == nil:
			value = literal
		case !word.MatchString(text):
			return nil, false
		}
	}
	switch v := value.(type) {
	case nil:
		return nil, true
	case bool:
		if v {
			words = []string{"yes"}
		}
		return words, true
	case pyliteral.Number:
		return []string{string(v)}, true
	case string:
		if v == "" || v == "no" || v == "none" {
			return nil, true
		}
		return []string{v}, true
	case pyliteral.Dict:
		return affirmedKeys(v)
	}
	return nil, false
}

func affirmedKeys(d pyliteral.Dict) (words []string, ok bool) {
	for _, entry := range d {
		key, isText := entry.Key.(string)
		value, isBool := entry.Value.(bool)
		if !isText || !isBool && entry.Value != nil {
			return nil, false
		}
		if value && !slices.Contains(words, key) {
			words = append(words, key)
		}
	}
	slices.Sort(words)
	return words, true
}
