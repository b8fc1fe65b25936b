package tiered

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memo"
)

var scope = artifacts.Request{Kind: "rows", Version: 1}

func listKey(t testing.TB) artifacts.Key {
	t.Helper()
	key, err := memo.List(scope).Key()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rowKey(name string) memo.Key { return sha256.Sum256([]byte(name)) }

// work computes rows as a stage does: it fetches, computes what is not known, and
// shares. The result says which it computed.
func (u *user) work(remotes []Remote, rows ...string) (computed []string) {
	u.t.Helper()
	c := u.cache(remotes...)
	lease, err := u.store.Lease(ctx, "a run")
	if err != nil {
		u.t.Fatal(err)
	}
	defer lease.Close()
	if err := c.FetchRows(ctx, listKey(u.t)); err != nil {
		u.t.Fatal(err)
	}
	m, err := memo.Open(ctx, u.store, scope, memo.Options{})
	if err != nil {
		u.t.Fatal(err)
	}
	for _, row := range rows {
		value, known, err := m.Get(rowKey(row))
		switch {
		case err != nil:
			u.t.Fatal(err)
		case known && string(value) != "value of "+row:
			u.t.Errorf("row %s has %q", row, value)
		case !known:
			computed = append(computed, row)
			if err := m.Put(rowKey(row), []byte("value of "+row)); err != nil {
				u.t.Fatal(err)
			}
		}
	}
	if err := m.Close(ctx); err != nil {
		u.t.Fatal(err)
	}
	c.ShareRows(listKey(u.t))
	c.Finish(ctx, true, nil)
	return computed
}

func (u *user) wantWork(remotes []Remote, rows, computed string) {
	u.t.Helper()
	if got := strings.Join(u.work(remotes, strings.Fields(rows)...), " "); got != computed {
		u.t.Errorf("%s computed %q of %q, want %q", u.name, got, rows, computed)
	}
}

func TestRowsTravel(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.wantWork(at(t, p), "1 2 3", "1 2 3")
	bob.wantWork(at(t, p), "2 3 4", "4")
	ann.wantWork(at(t, p), "1 2 3 4 5", "5")
	bob.wantWork(at(t, p), "1 2 3 4 5", "")

	// Lists that name the same cost a request.
	p.requests("")
	ann.wantWork(at(t, p), "1", "")
	if n := p.requests(""); n != 1 {
		t.Errorf("%d requests for rows that are known", n)
	}
}

// Who asks whether a remote has all sends the segments that it lost.
func TestRecheckSendsLostSegments(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.wantWork(at(t, p), "1 2 3", "1 2 3")
	for _, f := range segments(p.Object("ac/" + string(listKey(t)))) {
		p.Set("cas/"+f.Digest.Hex(), nil)
	}
	ann.opts.Recheck = true
	c := ann.cache(at(t, p)...)
	c.ShareRows(listKey(t))
	c.Finish(ctx, true, nil)
	bob.wantWork(at(t, p), "1 2 3", "")
}

// However many runs there were, the remote's list stays short, and nobody fetches
// a row many times.
func TestManyRunsShareRows(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprint("row", i))
		who := []*user{ann, bob}[i/3%2]
		who.wantWork(at(t, p), strings.Join(all, " "), fmt.Sprint("row", i))
	}
	action, err := artifacts.DecodeActionResult(p.Object("ac/" + string(listKey(t))))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(outputs(action.OutputFiles)); n > 2*8 {
		t.Errorf("the remote lists %d segments", n)
	}
	newUser(t, "eve").wantWork(at(t, p), strings.Join(all, " "), "")
	ann.wantWork(at(t, p), strings.Join(all, " "), "")
}

// Of two that write the list at once none loses what it has, in the end.
func TestListsWrittenAtOnce(t *testing.T) {
	p := newPlace("bucket")
	var users []*user
	var all []string
	for i := range 4 {
		users = append(users, newUser(t, fmt.Sprint("user", i)))
		all = append(all, fmt.Sprint("row", i))
	}
	var group sync.WaitGroup
	for i, u := range users {
		group.Go(func() { u.work(at(t, p), all[i]) })
	}
	group.Wait()
	for i, u := range users { // what was lost comes with the next time
		u.opts.Recheck = true
		u.wantWork(at(t, p), all[i], "")
	}
	newUser(t, "eve").wantWork(at(t, p), strings.Join(all, " "), "")
}

// A segment that is wrong at the remote costs its rows, and is replaced.
func TestWrongSegments(t *testing.T) {
	for name, damage := range map[string]func(p *place, segment string){
		"flipped": func(p *place, s string) {
			b := p.Object(s)
			b[len(b)/2] ^= 1
			p.Set(s, b)
		},
		"cut":    func(p *place, s string) { p.Set(s, p.Object(s)[:20]) },
		"absent": func(p *place, s string) { p.Set(s, nil) },
		"a list of garbage": func(p *place, _ string) {
			for _, name := range p.Names() {
				if strings.HasPrefix(name, "ac/") {
					p.Set(name, []byte("garbage"))
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
			ann.wantWork(at(t, p), "1 2", "1 2")
			bob.wantWork(at(t, p), "1 2 3 4", "3 4")
			first, _ := ann.store.GetAction(ctx, listKey(t))
			segments := segments(first)
			damage(p, "cas/"+segments[0].Digest.Hex())
			eve := newUser(t, "eve")
			computed := eve.work(at(t, p), "1", "2", "3", "4")
			if len(computed) == 0 || slices.Contains(computed, "3") && name != "a list of garbage" {
				t.Errorf("eve computed %q", computed)
			}
			newUser(t, "max").wantWork(at(t, p), "1 2 3 4", "")
		})
	}
}

func TestRowsOfStrangers(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	trusted := func(m artifacts.Digest, signature []byte) (string, error) {
		if string(signature) != string(sealer("bob").Sign(m)) {
			return "", fmt.Errorf("signed by %q", signature)
		}
		return "bob", nil
	}
	bob.opts = Options{Trusted: trusted, Signer: sealer("bob")}
	ann.wantWork(at(t, p), "1", "1")
	bob.wantWork(at(t, p), "1", "1")
	eve := newUser(t, "eve")
	eve.opts = bob.opts
	eve.wantWork(at(t, p), "1", "")
}

// gc may take the local list; what it had is fetched again.
func TestRowsAfterTheLocalListIsGone(t *testing.T) {
	p, ann := newPlace("bucket"), newUser(t, "ann")
	ann.wantWork(at(t, p), "1 2", "1 2")
	fresh := newUser(t, "ann")
	fresh.wantWork(at(t, p), "1 2", "")
	key := string(listKey(t))
	if err := os.Remove(filepath.Join(fresh.store.Dir(), "ac", key[:2], key)); err != nil {
		t.Fatal(err)
	}
	fresh.wantWork(at(t, p), "1 2", "")
}
