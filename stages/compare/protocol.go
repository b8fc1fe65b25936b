package compare

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// A Protocol is how something was measured. Numbers measured by two protocols
// cannot be ranked against each other.
type Protocol struct {
	Part       string            `json:"part"`             // valid or test
	Split      string            `json:"split"`            // the kind of the stage that divided the sequences; empty when it is not known
	SplitWith  map[string]string `json:"split_parameters"` // and its parameters
	FilterSeen string            `json:"filter_seen"`      // true or false: whether items of the history were left out; empty when it is not known
	Ties       string            `json:"ties"`             // the rule for equal scores; empty when it is not known
	Ks         []int             `json:"ks"`               // cut-offs of the metrics
	Users      int               `json:"users"`            // with an answer
	Answers    int               `json:"answers"`          // of all users
	Candidates Range             `json:"candidates"`       // items that were ranked for an answer
	Digest     artifacts.Digest  `json:"digest"`           // of every user, answer and number of candidates
	Evaluation string            `json:"evaluation"`       // kind and code version of the stage that measured
}

// A Range is the least and the most of something.
type Range struct {
	Least int `json:"least"`
	Most  int `json:"most"`
}

// Roles and parameters that make the protocol.
const (
	splitInput       = "split"
	filterSeenParam  = "filter_seen"
	tiesParam        = "ties"
	tiesExpected     = "expected"
	unknownForPeople = "unknown"
)

func (p *Protocol) fill(behind lineage, m *Measurement) {
	p.SplitWith = map[string]string{}
	if split, ok := behind.results[splitInput]; ok {
		request := split.Manifest.Request
		with := settings{values: map[setting]string{}}
		with.flatten("", "", request.Params)
		p.Split = request.Kind
		for at, value := range with.values {
			p.SplitWith[at.param] = value
		}
	}
	evaluation := behind.results[""].Manifest.Request
	p.Evaluation = fmt.Sprintf("%s %d", evaluation.Kind, evaluation.Version)
	for at, value := range m.settings.values {
		switch {
		case at.role != "":
		case at.base() == filterSeenParam:
			p.FilterSeen = value
		case at.base() == tiesParam:
			p.Ties = value
		}
	}
	for _, row := range m.metrics {
		if !slices.Contains(p.Ks, int(row.K)) {
			p.Ks = append(p.Ks, int(row.K))
		}
	}
	slices.Sort(p.Ks)
	p.count(m)
}

// count sums up the cases.
func (p *Protocol) count(m *Measurement) {
	users := map[int32]bool{}
	hash := sha256.New()
	for i, r := range m.ranks {
		users[r.User] = true
		_ = binary.Write(hash, binary.LittleEndian, []int32{r.User, r.Answer, r.Candidates}) // a hash takes everything
		if i == 0 {
			p.Candidates = Range{int(r.Candidates), int(r.Candidates)}
		}
		p.Candidates.Least = min(p.Candidates.Least, int(r.Candidates))
		p.Candidates.Most = max(p.Candidates.Most, int(r.Candidates))
	}
	p.Users, p.Answers = len(users), len(m.ranks)
	p.Digest = artifacts.Digest("sha256:" + fmt.Sprintf("%x", hash.Sum(nil)))
}

// differences says in which ways something was measured otherwise than by p.
// Cut-offs are no such way: ranks give the metrics at any.
func (p Protocol) differences(q Protocol) []string {
	var found []string
	compare := func(what, a, b string) {
		if a != b {
			found = append(found, fmt.Sprintf("%s: %s against %s", what, known(a), known(b)))
		}
	}
	compare("split", p.splitText(), q.splitText())
	compare("seen items filtered", p.FilterSeen, q.FilterSeen)
	compare("ties", p.Ties, q.Ties)
	compare("evaluated by", p.Evaluation, q.Evaluation)
	compare("users", fmt.Sprint(p.Users), fmt.Sprint(q.Users))
	compare("answers", fmt.Sprint(p.Answers), fmt.Sprint(q.Answers))
	compare("candidates", p.Candidates.String(), q.Candidates.String())
	if p.Digest != q.Digest && len(found) == 0 {
		found = append(found, "users, answers or candidates: as many, but not the same")
	}
	return found
}

func known(text string) string {
	if text == "" {
		return unknownForPeople
	}
	return text
}

func (p Protocol) splitText() string {
	if len(p.SplitWith) == 0 {
		return p.Split
	}
	var with []string
	for _, name := range slices.Sorted(maps.Keys(p.SplitWith)) {
		with = append(with, name+"="+p.SplitWith[name])
	}
	return fmt.Sprintf("%s (%s)", p.Split, strings.Join(with, ", "))
}

func (r Range) String() string {
	if r.Least == r.Most {
		return fmt.Sprint(r.Least)
	}
	return fmt.Sprintf("%d–%d", r.Least, r.Most)
}

// String is the protocol in one line.
func (p Protocol) String() string {
	filter := map[string]string{"true": "seen items filtered", "false": "seen items not filtered"}[p.FilterSeen]
	if filter == "" {
		filter = "filter of seen items " + unknownForPeople
	}
	return fmt.Sprintf("split %s, %d users, %s candidates, %s, ties %s", known(p.splitText()), p.Users, p.Candidates, filter, known(p.Ties))
}
