package engine

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// A hub serves models by Hugging Face's protocol: /api/models/… says which commit
// a revision is and which files it has, /…/resolve/<commit>/<file> has a file or
// leads to it, with its checksum in the headers. Answers go through the urlCache,
// so what is at hand is not asked for again: that a revision is a certain commit
// until somebody asks for fresh answers, the files of a commit never.
type hub struct {
	urls     *urlCache
	endpoint string
	token    string // empty when nobody gave one
}

const hubEndpoint = "https://huggingface.co"

// newHub takes endpoint and token from where the hub's own programs do.
func newHub(urls *urlCache, lookupEnv func(string) (string, bool)) hub {
	h := hub{urls: urls, endpoint: hubEndpoint}
	if lookupEnv == nil {
		return h
	}
	if endpoint, _ := lookupEnv("HF_ENDPOINT"); endpoint != "" {
		h.endpoint = strings.TrimRight(endpoint, "/")
	}
	token, _ := lookupEnv("HF_TOKEN")
	h.token = strings.TrimSpace(token) // a line break of the file that it came from is in no header
	return h
}

// What a model directory holds that is of use. All of it is data: nothing that
// is fetched can be executed, as pickled weights could.
const (
	weightsFile = "model.safetensors"
	weightIndex = "model.safetensors.index.json" // of weights in several files
)

var hubSmallFiles = []string{"config.json", "merges.txt", "preprocessor_config.json", "vocab.json"}

const (
	maxSmallFile = 64 << 20
	maxWeights   = 64 << 30 // bytes of one file of weights
	maxShards    = 1000
)

// files are the files of a model by their names, fetched if they are not at hand.
func (h hub) files(ctx context.Context, model stages.HubModel, progress progress) ([]stages.File, error) {
	if u, err := url.Parse(h.endpoint); err != nil || !isURL(h.endpoint) || u.Host == "" {
		return nil, fmt.Errorf("HF_ENDPOINT is %q: want the https:// address of a hub", stages.PublicURL(h.endpoint))
	}
	f := hubFetch{hub: h, model: model, progress: progress}
	listing, err := f.listing(ctx)
	if err != nil {
		return nil, err
	}
	f.commit = listing.Commit
	if !listing.has(weightsFile) && !listing.has(weightIndex) {
		return nil, fmt.Errorf("%s has no %s, and weights of other formats are not read, since they may hold code: name a revision that has it, such as a conversion under refs/pr/", model, weightsFile)
	}
	files, err := f.each(ctx, listing.among(hubSmallFiles...))
	if err != nil {
		return nil, err
	}
	weights, err := f.weights(ctx, listing)
	if err != nil {
		return nil, err
	}
	files = append(files, weights...)
	slices.SortFunc(files, func(a, b stages.File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// A hubListing is what the hub says of a revision.
type hubListing struct {
	Commit string `json:"sha"`
	Files  []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
}

func (l hubListing) has(name string) bool { return len(l.among(name)) > 0 }

// among are those of names that the model has. Other files are never asked for,
// whatever they are called.
func (l hubListing) among(names ...string) []string {
	has := map[string]bool{}
	for _, file := range l.Files {
		has[file.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !has[name] })
}

var shardName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\.safetensors$`)

// shardsOf are the files that an index of weights names.
func shardsOf(indexPath string, listing hubListing) ([]string, error) {
	text, err := os.ReadFile(indexPath)
	if err != nil {
		return nil, err
	}
	var index struct {
		Of map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", weightIndex, err)
	}
	shards := slices.Compact(slices.Sorted(maps.Values(index.Of)))
	if len(shards) == 0 || len(shards) > maxShards {
		return nil, fmt.Errorf("%s names %d files: want 1 to %d", weightIndex, len(shards), maxShards)
	}
	for _, shard := range shards {
		if !shardName.MatchString(shard) || !listing.has(shard) {
			return nil, fmt.Errorf("%s names %.100q, which is no file of weights beside it", weightIndex, shard)
		}
	}
	return shards, nil
}

// A hubFetch is the fetching of one model.
type hubFetch struct {
	hub
	model    stages.HubModel
	commit   string
	done     int64 // bytes of the files that were fetched before
	progress progress
}

func (f *hubFetch) listing(ctx context.Context) (hubListing, error) {
	file, err := f.fetch(ctx, remoteFile{
		url:   fmt.Sprintf("%s/api/models/%s/revision/%s", f.endpoint, f.model.ID(), url.PathEscape(f.model.Revision)),
		name:  f.model.String(),
		fixed: f.model.Pinned(),
		limit: func(http.Header) int64 { return maxSmallFile },
		check: func(r received) error { _, err := f.readListing(r.path); return err },
	}, nil)
	if err != nil {
		return hubListing{}, err
	}
	return f.readListing(file.Path)
}

var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// readListing checks what the hub said before it is believed, or remembered.
func (f *hubFetch) readListing(path string) (hubListing, error) {
	var listing hubListing
	text, err := os.ReadFile(path)
	if err != nil {
		return listing, err
	}
	if err := json.Unmarshal(text, &listing); err != nil {
		return listing, fmt.Errorf("what the hub answered is no list of files: %w", err)
	}
	switch {
	case !commitName.MatchString(listing.Commit):
		return listing, fmt.Errorf("the hub says that it is the commit %.60q: want 40 hex digits", listing.Commit)
	case f.model.Pinned() && listing.Commit != f.model.Revision:
		return listing, fmt.Errorf("the hub answered for the commit %s", listing.Commit)
	}
	return listing, nil
}

// weights are the files of weights: one, or an index and what it names.
func (f *hubFetch) weights(ctx context.Context, listing hubListing) ([]stages.File, error) {
	if listing.has(weightsFile) {
		return f.each(ctx, []string{weightsFile})
	}
	index, err := f.each(ctx, []string{weightIndex})
	if err != nil {
		return nil, err
	}
	shards, err := shardsOf(index[0].Path, listing)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.model, err)
	}
	files, err := f.each(ctx, shards)
	return append(index, files...), err
}

func (f *hubFetch) each(ctx context.Context, names []string) ([]stages.File, error) {
	files := make([]stages.File, len(names))
	for i, name := range names {
		var err error
		if files[i], err = f.file(ctx, name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// file is a file of the commit.
func (f *hubFetch) file(ctx context.Context, name string) (stages.File, error) {
	var size int64
	limit := int64(maxSmallFile)
	if shardName.MatchString(name) {
		limit = maxWeights
	}
	file, err := f.fetch(ctx, remoteFile{
		url:   fmt.Sprintf("%s/%s/resolve/%s/%s", f.endpoint, f.model.ID(), f.commit, name),
		name:  fmt.Sprintf("%s of %s", name, f.model),
		fixed: true,
		limit: func(own http.Header) int64 {
			if linked, err := strconv.ParseInt(own.Get("X-Linked-Size"), 10, 64); err == nil {
				return min(limit, linked)
			}
			return limit
		},
		check: func(r received) error { return checkHubFile(r, f.commit) },
	}, func(done, total int64) {
		size = done
		if f.progress != nil && total > 0 {
			f.progress(f.done+done, f.done+total)
		}
	})
	f.done += size
	file.Name = name // as in a directory of these files
	return file, err
}

// fetch adds what is the same for all that is asked of the hub.
func (f *hubFetch) fetch(ctx context.Context, wanted remoteFile, progress progress) (stages.File, error) {
	wanted.token = f.token
	file, err := f.urls.fetch(ctx, wanted, progress)
	var status *statusError
	var network net.Error
	switch {
	case errors.As(err, &status):
		err = fmt.Errorf("%s: the hub answered %s: %s", wanted, status.status, f.remedy(status.code))
	case errors.As(err, &network):
		err = fmt.Errorf("%w: where the hub cannot be reached, name a directory that holds the model, or another hub in HF_ENDPOINT", err)
	}
	return file, err
}

func (f *hubFetch) remedy(code int) string {
	switch {
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && f.token != "":
		return fmt.Sprintf("the token in HF_TOKEN may not read it; a gated model's terms have to be agreed to at %s/%s first", stages.PublicURL(f.endpoint), f.model.ID())
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Sprintf("there is no such model, or it is private or gated: set HF_TOKEN to a token that may read it, after having agreed to its terms at %s/%s", stages.PublicURL(f.endpoint), f.model.ID())
	case code == http.StatusNotFound && f.token == "":
		return "it has no such model, revision or file; a private one wants HF_TOKEN to be set"
	case code == http.StatusNotFound:
		return "it has no such model, revision or file"
	}
	return "try again later, or name a directory that holds the model"
}

// checkHubFile compares a file with what the hub itself said of it, wherever the
// bytes came from: the SHA-256 of a large file, git's name for the content of a
// small one.
func checkHubFile(r received, commit string) error {
	if of := r.header.Get("X-Repo-Commit"); of != "" && of != commit {
		return fmt.Errorf("the hub sent the file of commit %.60q, and was asked for that of %s", of, commit)
	}
	if size := r.header.Get("X-Linked-Size"); size != "" && size != strconv.FormatInt(r.size, 10) {
		return fmt.Errorf("it has %d bytes, and the hub says %s", r.size, size)
	}
	tag := r.header.Get("X-Linked-Etag")
	if tag == "" {
		tag = r.header.Get("ETag")
	}
	tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	switch len(tag) {
	case 2 * 32:
		if tag != r.digest.Hex() {
			return fmt.Errorf("it has the sha256 %s, and the hub says %s", r.digest.Hex(), tag)
		}
		return nil
	case 2 * sha1.Size:
		name, err := gitName(r.path, r.size)
		if err == nil && name != tag {
			err = fmt.Errorf("git's name for its content is %s, and the hub says %s", name, tag)
		}
		return err
	}
	return fmt.Errorf("the hub names no checksum for it (ETag %.80q), so that nobody can tell whether it is right", tag)
}

// gitName is the name that git has for a file's content.
func gitName(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
