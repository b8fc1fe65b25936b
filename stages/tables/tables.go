// Package tables holds the tables that stages exchange: one row struct each,
// whose fields are the Arrow columns. A stage writes a whole row type; a stage
// that reads only some columns declares a smaller struct of its own with the
// same column names, and only those columns are then part of its key.
//
//	type interaction struct {              // what a corpus reads of Interaction
//		User string `arrow:"user"`
//		Item string `arrow:"item"`
//	}
//
// The package knows no stage; it is the vocabulary that they share.
package tables

// Interaction is one event of a user with an item, as it stands in the raw
// data, with external ids.
type Interaction struct {
	User      string  `arrow:"user" doc:"external user id"`
	Item      string  `arrow:"item" doc:"external item id"`
	Rating    float32 `arrow:"rating" doc:"rating as given, 1 to 5 stars for Amazon and Yelp"`
	Timestamp int64   `arrow:"timestamp" doc:"seconds since 1970-01-01 UTC"`
	Row       int64   `arrow:"row" doc:"line in the source, counted from 1 through all its files; breaks time ties"`
}

// Item is what the raw data say of one item.
type Item struct {
	Item        string   `arrow:"item" doc:"external item id"`
	Title       string   `arrow:"title" doc:"plain text, empty when unknown"`
	Description string   `arrow:"description" doc:"plain text, empty when unknown"`
	Brand       string   `arrow:"brand" doc:"plain text, empty when unknown"`
	Categories  []string `arrow:"categories" doc:"the first category path, broadest first"`
	ImageURL    string   `arrow:"image_url" doc:"largest picture known, empty when none"`
	Price       *float64 `arrow:"price" doc:"in the source's currency, null when unknown"`
}

// CorpusItem is an item that is left after the k-core, with its internal id.
type CorpusItem struct {
	ID           int32    `arrow:"id" doc:"internal id, from 1 in the order of the sorted external ids"`
	Item         string   `arrow:"item" doc:"external item id"`
	Interactions int64    `arrow:"interactions" doc:"how often it occurs in the sequences"`
	Title        string   `arrow:"title" doc:"plain text, empty when unknown"`
	Description  string   `arrow:"description" doc:"plain text, empty when unknown"`
	Brand        string   `arrow:"brand" doc:"plain text, empty when unknown"`
	Categories   []string `arrow:"categories" doc:"the first category path, broadest first"`
	ImageURL     string   `arrow:"image_url" doc:"largest picture known, empty when none"`
	Price        *float64 `arrow:"price" doc:"in the source's currency, null when unknown"`
}

// User is a user that is left after the k-core, with its internal id.
type User struct {
	ID           int32  `arrow:"id" doc:"internal id, from 1 in the order of the sorted external ids"`
	User         string `arrow:"user" doc:"external user id"`
	Interactions int64  `arrow:"interactions" doc:"length of the user's sequence"`
}

// Sequence is what one user did, oldest first.
type Sequence struct {
	User       int32   `arrow:"user" doc:"internal user id"`
	Items      []int32 `arrow:"items" doc:"internal item ids, oldest first"`
	Timestamps []int64 `arrow:"timestamps" doc:"seconds since 1970-01-01 UTC, aligned with items; the position where the source has no times"`
}

// Split is one user's sequence divided into what is trained on and what is
// asked. The history before a test answer is train followed by valid.
type Split struct {
	User  int32   `arrow:"user" doc:"internal user id"`
	Train []int32 `arrow:"train" doc:"internal item ids to train on, oldest first"`
	Valid []int32 `arrow:"valid" doc:"items held out for validation, oldest first; one for leave-one-out"`
	Test  []int32 `arrow:"test" doc:"items held out for the test, oldest first; one for leave-one-out"`
}

// Image is one item's picture, or why there is none. Several pictures of an item
// are rows one after the other, the best first.
type Image struct {
	Item      string `arrow:"item" doc:"external item id"`
	URL       string `arrow:"url" doc:"where it was asked for"`
	FinalURL  string `arrow:"final_url" doc:"where it was found, after redirects"`
	Status    int32  `arrow:"status" doc:"HTTP status, 200 for a picture that was read from a file, 0 when nothing answered"`
	MediaType string `arrow:"media_type" doc:"by its content, such as image/png; empty when there is no picture"`
	Width     int32  `arrow:"width" doc:"pixels"`
	Height    int32  `arrow:"height" doc:"pixels"`
	SHA256    string `arrow:"sha256" doc:"of the bytes, 64 hex digits; empty when there is no picture"`
	Bytes     []byte `arrow:"bytes" doc:"the file as it was sent; empty when there is no picture"`
	Error     string `arrow:"error" doc:"cause, empty when there is a picture"`
}

// Features are the vectors of one item, one for each modality. An absent
// modality is a zero vector whose mask is false.
type Features struct {
	ID           int32     `arrow:"id" doc:"internal item id"`
	Item         string    `arrow:"item" doc:"external item id"`
	Image        []float32 `arrow:"image,fixed" doc:"vector of the picture, or the mean of several, L2-normalised"`
	ImagePresent bool      `arrow:"image_present" doc:"false when the item has no picture"`
	Text         []float32 `arrow:"text,fixed" doc:"vector of the text, L2-normalised"`
	TextPresent  bool      `arrow:"text_present" doc:"false when the item has no text"`
}

// ModelPart is one part of a trained model: its configuration, the external ids
// of its items, or a tensor.
type ModelPart struct {
	Name  string  `arrow:"name" doc:"config, item_ids, or the tensor's name"`
	Type  string  `arrow:"type" doc:"json, float32 or int64"`
	Shape []int64 `arrow:"shape" doc:"of a tensor, outermost axis first"`
	Data  []byte  `arrow:"data" doc:"JSON text, or the tensor's values in row-major little-endian order"`
}

// Epoch is one epoch of training and what validation said after it.
type Epoch struct {
	Epoch          int32    `arrow:"epoch" doc:"from 1"`
	Steps          int64    `arrow:"steps" doc:"batches since the start"`
	Loss           float64  `arrow:"loss" doc:"total training loss, mean over the epoch's batches weighted by their targets"`
	Recommendation float64  `arrow:"recommendation_loss" doc:"its recommendation part"`
	Interaction    float64  `arrow:"interaction_loss" doc:"its weighted PRISM part, 0 without modalities"`
	Own            float64  `arrow:"own_loss" doc:"its weighted part that the backbone brings, 0 for sasrec"`
	LearningRate   float64  `arrow:"learning_rate" doc:"at the epoch's end"`
	Metric         string   `arrow:"metric" doc:"what is monitored: a validation metric, such as ndcg@10, or loss"`
	Value          *float64 `arrow:"value" doc:"of that metric; null where this epoch was not validated"`
	Best           bool     `arrow:"best" doc:"whether it was the best so far, so that its parameters were kept"`
}

// Metric is one number of an evaluation. The first three metrics say how well
// answers were found, the others what is recommended.
type Metric struct {
	Model  string  `arrow:"model" doc:"prism, or the baseline's name"`
	Split  string  `arrow:"split" doc:"valid or test"`
	Metric string  `arrow:"metric" doc:"recall, ndcg or mrr; coverage, gini, average_popularity or novelty"`
	K      int32   `arrow:"k" doc:"cut-off"`
	Value  float64 `arrow:"value" doc:"mean over the users; of coverage and gini, the value for all of them together"`
	Users  int64   `arrow:"n" doc:"users that it is of"`
}

// Slice is one number of an evaluation for some of the answers alone.
type Slice struct {
	Model  string  `arrow:"model" doc:"prism, or the baseline's name"`
	Split  string  `arrow:"split" doc:"valid or test"`
	Slice  string  `arrow:"slice" doc:"what the answers are divided by: item, item_frequency, history_length or modality"`
	Bucket string  `arrow:"bucket" doc:"which of them, such as cold, 5-9 or image"`
	Metric string  `arrow:"metric" doc:"recall, ndcg or mrr"`
	K      int32   `arrow:"k" doc:"cut-off"`
	Value  float64 `arrow:"value" doc:"mean over the users"`
	Users  int64   `arrow:"n" doc:"users with such an answer"`
}

// Rank is where one answer of a user stood among the candidates. A user with
// several answers has as many rows, one after another.
type Rank struct {
	Model      string  `arrow:"model" doc:"prism, or the baseline's name"`
	Split      string  `arrow:"split" doc:"valid or test"`
	User       int32   `arrow:"user" doc:"internal user id"`
	Answer     int32   `arrow:"answer" doc:"internal item id"`
	Rank       float64 `arrow:"rank" doc:"from 1; half ranks occur only when ties are counted half"`
	Candidates int32   `arrow:"candidates" doc:"items that were ranked"`
	Repeated   bool    `arrow:"repeated" doc:"whether the answer occurs in the history, so that filtering seen items rules out a hit"`
}

// Recommendation is one item that a model recommends to a user.
type Recommendation struct {
	User  string  `arrow:"user" doc:"external user id"`
	Rank  int32   `arrow:"rank" doc:"from 1, the highest score first; of equal scores the smaller internal item id"`
	Item  string  `arrow:"item" doc:"external item id"`
	Score float32 `arrow:"score" doc:"the model's score, no probability; only those of one user compare"`
}
