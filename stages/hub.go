package stages

import (
	"fmt"
	"regexp"
	"strings"
)

const hubScheme = "hf://"

// A HubModel is the directory of a model at one revision, on a hub that speaks
// Hugging Face's protocol. As a source it stands wherever a directory may, and
// is written hf://owner/name or hf://owner/name@revision.
type HubModel struct {
	Owner, Name string
	Revision    string // a branch, a tag, a reference such as refs/pr/3, or a commit
}

// IsHubModel says whether a source is meant as a HubModel.
func IsHubModel(text string) bool { return strings.HasPrefix(text, hubScheme) }

const mainBranch = "main" // the revision that is meant where none is named

var (
	hubName     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$`)
	hubRevision = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$`)
	hubCommit   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ParseHubModel reads hf://owner/name[@revision]. Neither part can lead out of
// the place that it has in a URL.
func ParseHubModel(text string) (HubModel, error) {
	path, revision, named := strings.Cut(strings.TrimPrefix(text, hubScheme), "@")
	if !named {
		revision = mainBranch
	}
	owner, name, _ := strings.Cut(path, "/")
	switch {
	case !IsHubModel(text) || !hubName.MatchString(owner) || !hubName.MatchString(name) || strings.Contains(path, ".."):
		return HubModel{}, fmt.Errorf("%.100q is no model on a hub: write hf://owner/name or hf://owner/name@revision", text)
	case !hubRevision.MatchString(revision) || strings.Contains(revision, ".."):
		return HubModel{}, fmt.Errorf("%.100q is no revision of a model: want a branch, a tag or a commit", revision)
	}
	return HubModel{owner, name, revision}, nil
}

// Pinned says whether the revision is a commit, which never changes.
func (m HubModel) Pinned() bool { return hubCommit.MatchString(m.Revision) }

// ID is the model's name on the hub, without the revision.
func (m HubModel) ID() string { return m.Owner + "/" + m.Name }

func (m HubModel) String() string { return hubScheme + m.ID() + "@" + m.Revision }
