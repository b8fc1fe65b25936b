package synthetic

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/synthetic/site"
)

const amazonVersion = 2

// Amazon is the stage kind synthetic.amazon.
type Amazon struct {
	Seed         int64   `stage:"seed" default:"1" min:"0" doc:"of everything that is drawn"`
	Users        int64   `stage:"users" default:"3000" min:"10" max:"10000000" unit:"users" doc:"number of users"`
	Items        int64   `stage:"items" default:"1200" min:"20" max:"1000000" unit:"items" doc:"number of items"`
	Looks        int64   `stage:"looks" default:"6" min:"1" max:"12" unit:"values" doc:"values of the visual attribute, which only the picture shows"`
	Topics       int64   `stage:"topics" default:"6" min:"1" max:"12" unit:"values" doc:"values of the textual attribute, which only the text tells"`
	Length       float64 `stage:"length" default:"9" min:"5" max:"1000" unit:"interactions" doc:"mean length of a user's history; the least is 5"`
	Visual       float64 `stage:"visual_users" default:"0.3" min:"0" max:"1" unit:"share" doc:"users that prefer one look"`
	Textual      float64 `stage:"textual_users" default:"0.3" min:"0" max:"1" unit:"share" doc:"users that prefer one topic"`
	Cross        float64 `stage:"cross_users" default:"0.3" min:"0" max:"1" unit:"share" doc:"users that prefer one look and one topic together"`
	Faithful     float64 `stage:"faithful" default:"0.85" min:"0" max:"1" unit:"share" doc:"interactions that follow the preference; the others follow popularity"`
	Skew         float64 `stage:"skew" default:"0.6" min:"0" max:"3" doc:"exponent of popularity over its rank; 0 makes all items equal"`
	WithoutImage float64 `stage:"without_image" default:"0.03" min:"0" max:"1" unit:"share" doc:"items that have no picture"`
	Faulty       float64 `stage:"faulty" default:"0.15" min:"0" max:"1" unit:"share" doc:"pictures that the site does not simply send; a third of them never arrives"`

	Reviews  stages.OutFile          `stage:"reviews" doc:"reviews in the 2014 format, gzipped JSON lines"`
	Metadata stages.OutFile          `stage:"metadata" doc:"metadata in the 2014 format, gzipped Python literals"`
	Pictures stages.OutFile          `stage:"pictures" doc:"the items' pictures and how each behaves when it is asked for, for the parameter site of images.download"`
	Planted  stages.Out[PlantedUser] `stage:"planted" doc:"what was planted: each user's group and the best that any model can do for it"`
}

// PlantedUser is the truth about one user.
type PlantedUser struct {
	User    string  `arrow:"user" doc:"external user id"`
	Group   string  `arrow:"group" doc:"visual, textual, cross or none"`
	Look    int32   `arrow:"look" doc:"preferred look, -1 for none"`
	Topic   int32   `arrow:"topic" doc:"preferred topic, -1 for none"`
	Optimum float64 `arrow:"optimum" doc:"probability that the best possible ranking has the user's last item among its first ten"`
}

func amazonKind() stages.Kind {
	return stages.Declare[Amazon]("synthetic.amazon", amazonVersion,
		"an Amazon-format corpus with planted visual and textual preferences").WithDoc(amazonDoc, `
[stages.synthetic]
kind  = "synthetic.amazon"
users = 3000
items = 1200
seed  = 1`)
}

const amazonDoc = `
Every item has a look, which only its picture shows, and a topic, which only its
text tells; the two are independent. Users prefer a look, a topic, or one look
and one topic together, or nothing; most of their interactions follow that, the
others popularity. Nothing but what an item is decides: the order of a history
has no meaning. So a model that reads only ids has to learn each item's
attributes from who had it, and one that reads pictures and text can see them;
what the best possible ranking would reach is in the output planted.

The files have the formats of the Amazon 2014 data, including Python literals
for the metadata and several reviews on one day. The pictures are small PNG
files in a zip archive; their addresses in the metadata never resolve, and
images.download asks the archive's site for them where it has the parameter
site. Some behave as pictures of real shops do: they have moved, come late, after
a failure or cut short at first, are broken, replaced by a page, or gone.`

// optimumPositions is the k of the optimum: Recall@10 is what people compare.
const optimumPositions = 10

// Validate checks that the groups' shares do not exceed the whole.
func (a *Amazon) Validate() []stages.Problem {
	if sum := a.Visual + a.Textual + a.Cross; sum > 1+1e-9 {
		return []stages.Problem{{Param: "cross_users", Message: fmt.Sprintf("visual_users, textual_users and cross_users sum to %g, and at most 1 is possible", sum)}}
	}
	return nil
}

// Run draws the world and writes it down.
func (a *Amazon) Run(ctx context.Context, env *stages.Env) error {
	w, err := newWorld(ctx, settings{
		users: int(a.Users), items: int(a.Items), looks: int(a.Looks), topics: int(a.Topics),
		length: a.Length, faithful: a.Faithful, skew: a.Skew, withoutImage: a.WithoutImage, faulty: a.Faulty,
		visual: a.Visual, textual: a.Textual, cross: a.Cross, optimumPositions: optimumPositions,
	}, uint64(a.Seed))
	if err != nil {
		return err
	}
	for _, write := range []func(*world) error{a.writeReviews, a.writeMetadata, a.writePictures, a.writePlanted} {
		if err := write(w); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	w.count(env)
	return nil
}

// count reports the size of the world, its optimum by group and its pictures by
// how they behave.
func (w *world) count(env *stages.Env) {
	interactions := 0
	optimum, users := map[string]float64{}, map[string]float64{}
	for _, u := range w.users {
		interactions += len(u.history)
		optimum[u.group] += u.optimum
		users[u.group]++
	}
	env.Count("users", float64(len(w.users)))
	env.Count("items", float64(len(w.items)))
	env.Count("interactions", float64(interactions))
	for _, group := range []string{GroupVisual, GroupTextual, GroupCross, GroupNone} {
		if users[group] > 0 {
			env.Count("optimum_recall_10_"+group, optimum[group]/users[group])
		}
	}
	w.countPictures(env)
}

func (w *world) countPictures(env *stages.Env) {
	pictures := 0
	behave := map[site.Behaviour]int{}
	for _, it := range w.items {
		if it.hasImage {
			pictures++
			behave[it.behaviour]++
		}
	}
	env.Count("pictures", float64(pictures))
	for _, f := range faults {
		env.Count("pictures_"+string(f.behaviour), float64(behave[f.behaviour]))
	}
}

// firstDay is 2010-01-01 in seconds since 1970.
const (
	firstDay      = 1262304000
	secondsOfADay = 86400
)

// review has the fields of a 2014 review in the order of the real files.
type review struct {
	ReviewerID     string  `json:"reviewerID"`
	Asin           string  `json:"asin"`
	ReviewerName   string  `json:"reviewerName"`
	Helpful        [2]int  `json:"helpful"`
	ReviewText     string  `json:"reviewText"`
	Overall        float64 `json:"overall"`
	Summary        string  `json:"summary"`
	UnixReviewTime int64   `json:"unixReviewTime"`
	ReviewTime     string  `json:"reviewTime"`
}

// writeReviews writes the users' interactions user by user, in the order of the
// items within a day shuffled as in the real files, where a file's order is no
// order in time.
func (a *Amazon) writeReviews(w *world) error {
	return writeGzip(a.Reviews, func(out *bufio.Writer) error {
		encoder := json.NewEncoder(out)
		for _, u := range w.users {
			for i, index := range u.history {
				err := encoder.Encode(review{
					ReviewerID: u.id, Asin: w.items[index].id, ReviewerName: "Reader " + u.id[1:5],
					ReviewText: "It is what it says.", Overall: float64(3 + w.random.IntN(3)), Summary: "As described",
					UnixReviewTime: firstDay + int64(u.days[i])*secondsOfADay,
					ReviewTime:     fmt.Sprintf("day %d", u.days[i]),
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// writeMetadata writes one Python dict literal a line, as the 2014 files do.
func (a *Amazon) writeMetadata(w *world) error {
	return writeGzip(a.Metadata, func(out *bufio.Writer) error {
		for _, it := range w.items {
			if _, err := out.WriteString(describe(it, w.random) + "\n"); err != nil {
				return err
			}
		}
		return nil
	})
}

func describe(it item, random *rand.Rand) string {
	topic := fmt.Sprintf("topic%d", it.topic)
	if it.topic < len(topics) {
		topic = topics[it.topic]
	}
	noun := nouns[random.IntN(len(nouns))]
	title := fmt.Sprintf("%s %s %s", adjectives[random.IntN(len(adjectives))], topic, noun)
	description := fmt.Sprintf("%s in %s, %s", noun, topic, fillers[random.IntN(len(fillers))])
	url := ""
	if it.hasImage {
		url = fmt.Sprintf(", 'imUrl': '%s'", site.URL(it.pictureName()))
	}
	return fmt.Sprintf("{'asin': '%s', 'title': %s, 'price': %.2f%s, 'brand': %s, 'categories': [['Home', %s]], 'description': %s}",
		it.id, pythonString(title), 5+random.Float64()*45, url, pythonString(brands[random.IntN(len(brands))]), pythonString(noun+"s"), pythonString(description))
}

// pythonString writes a string without control characters as Python's repr does.
func pythonString(s string) string {
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	s = strings.ReplaceAll(s, `\`, `\\`)
	return quote + strings.ReplaceAll(s, quote, `\`+quote) + quote
}

// writePictures draws the pictures and says how each behaves.
func (a *Amazon) writePictures(w *world) error {
	file, err := a.Pictures.Create()
	if err != nil {
		return err
	}
	defer file.Close()
	buffered := bufio.NewWriterSize(file, 1<<16)
	archive := site.NewWriter(buffered)
	for _, it := range w.items {
		if !it.hasImage {
			continue
		}
		data, err := picture(it.look, w.settings.looks, w.random)
		if err != nil {
			return err
		}
		if err := archive.Add(it.pictureName(), it.behaviour, data); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return file.Close()
}

func (a *Amazon) writePlanted(w *world) error {
	rows := make([]PlantedUser, len(w.users))
	for i, u := range w.users {
		rows[i] = PlantedUser{User: u.id, Group: u.group, Look: int32(u.look), Topic: int32(u.topic), Optimum: u.optimum}
	}
	return a.Planted.WriteAll(rows)
}

// writeGzip writes a gzip file without a name or time in its header, so that
// the same content gives the same bytes.
func writeGzip(to stages.OutFile, write func(*bufio.Writer) error) error {
	file, err := to.Create()
	if err != nil {
		return err
	}
	defer file.Close()
	compressed := gzip.NewWriter(file)
	buffered := bufio.NewWriterSize(compressed, 1<<16)
	if err := write(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := compressed.Close(); err != nil {
		return err
	}
	return file.Close()
}
