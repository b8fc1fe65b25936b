package disk

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

func TestEachResult(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 4)
	other := storetest.Manifest(t, s, 0, map[string][]byte{"own": []byte("came out otherwise"), "shared": storetest.Random(100, 99)})
	if _, err := artifacts.Publish(ctx, s, other); err != nil {
		t.Fatal(err)
	}
	must(t, os.Remove(s.blobPath(all[1].Outputs["own"].Digest.Hex())))
	must(t, os.WriteFile(s.actionPath(all[2].Key), []byte("\xff"), 0o644))
	foreign := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{
		{Path: "bin/a.o", Digest: all[0].Outputs["own"].Digest, Bytes: 1}, {Path: "lib/b.o", Digest: all[0].Outputs["own"].Digest, Bytes: 1},
	}}
	must(t, s.PutAction(ctx, storetest.Key("of another program"), foreign.Encode(), false))
	c.forward(time.Hour)

	found := map[artifacts.Key]Result{}
	var alternative Result
	err := s.EachResult(ctx, func(r Result) error {
		if r.Alternative {
			alternative = r
		} else {
			found[r.Key] = r
		}
		return nil
	})
	if err != nil || len(found) != 5 {
		t.Fatalf("%d results, %v", len(found), err)
	}
	whole := found[all[3].Key]
	if whole.Damaged != nil || whole.Manifest.Provenance.Pipeline != "storetest" || len(whole.Files) != 3 || whole.Signed || !whole.Used.Equal(c.now.Add(-2*time.Hour)) {
		t.Errorf("a whole result: %+v", whole)
	}
	if lacking := found[all[1].Key]; !errors.Is(lacking.Damaged, artifacts.ErrNotFound) || lacking.Manifest.Key != all[1].Key {
		t.Errorf("one that lacks a blob: %+v", lacking)
	}
	if broken := found[all[2].Key]; broken.Damaged == nil || broken.Manifest.Key != "" {
		t.Errorf("one that cannot be read: %+v", broken)
	}
	if theirs := found[storetest.Key("of another program")]; !theirs.Foreign || theirs.Damaged != nil || len(theirs.Files) != 2 || whole.Foreign {
		t.Errorf("one of another program: %+v", theirs)
	}
	if alternative.Damaged != nil || alternative.Manifest.Key != all[0].Key || alternative.Manifest.Outputs["own"].Digest != other.Outputs["own"].Digest {
		t.Errorf("an alternative: %+v", alternative)
	}
	seen, err := os.Lstat(s.actionPath(all[3].Key))
	must(t, err)
	if collected := s.resultsOf(ctx, storetest.Key("collected meanwhile"), seen); collected != nil {
		t.Errorf("one whose action is gone: %+v", collected)
	}
	stop := errors.New("enough")
	if err := s.EachResult(ctx, func(Result) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a visit that ends it: %v", err)
	}
}

// A calling context does something when it is asked for the n-th time, as every
// look at the store begins by asking.
type calling struct {
	context.Context
	asked, n int
	do       func()
}

func (c *calling) Err() error {
	if c.asked++; c.asked == c.n {
		c.do()
	}
	return nil
}

// TestReplacedMeanwhile: whenever a result is collected and computed again while
// somebody looks at it, it is not damaged.
func TestReplacedMeanwhile(t *testing.T) {
	for what, look := range map[string]func(*Store, context.Context, artifacts.Key) error{
		"listing": func(s *Store, ctx context.Context, k artifacts.Key) error {
			seen, err := os.Lstat(s.actionPath(k))
			for _, r := range s.resultsOf(ctx, k, seen) {
				err = errors.Join(err, r.Damaged)
			}
			return err
		},
		"verifying": func(s *Store, ctx context.Context, k artifacts.Key) error {
			var report VerifyReport
			err := s.verifyActions(ctx, VerifyOptions{}, &report)
			for _, p := range report.Problems {
				err = errors.Join(err, errors.New(p.Error))
			}
			return err
		},
	} {
		for n := 1; ; n++ {
			s, c := openClocked(t)
			old := publishAt(t, s, c, 1)[0]
			during := &calling{Context: ctx, n: n, do: func() {
				gc(t, s, GCOptions{MaxBytes: 1})
				again := storetest.Manifest(t, s, 0, map[string][]byte{"own": []byte("came out otherwise")})
				if _, err := artifacts.Publish(ctx, s, again); err != nil {
					t.Fatal(err)
				}
			}}
			if err := look(s, during, old.Key); err != nil {
				t.Errorf("%s, replaced at step %d: %v", what, n, err)
			}
			if during.asked < n {
				break
			}
		}
	}
}

// TestVerifyAgrees: what a list calls damaged, and a look-up takes for a miss,
// Verify finds, and takes out if it is to.
func TestVerifyAgrees(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 3)
	encoded, _, err := readAction(s.actionPath(all[0].Key))
	must(t, err)
	must(t, s.PutAction(ctx, all[1].Key, encoded, true)) // another's
	action, err := artifacts.DecodeActionResult(encoded)
	must(t, err)
	action.OutputFiles = append(action.OutputFiles, artifacts.OutputFile{Path: "more", Digest: all[2].Outputs["own"].Digest, Bytes: all[2].Outputs["own"].Bytes})
	must(t, s.PutAction(ctx, all[0].Key, action.Encode(), true)) // of more than its manifest says

	damaged := map[artifacts.Key]bool{}
	must(t, s.EachResult(ctx, func(r Result) error {
		damaged[r.Key] = r.Damaged != nil
		return nil
	}))
	for i, m := range all {
		if _, err := artifacts.Lookup(ctx, s, m.Key); damaged[m.Key] != (err != nil) || damaged[m.Key] != (i < 2) {
			t.Errorf("result %d is damaged: %v, and the look-up says %v", i, damaged[m.Key], err)
		}
	}
	report, err := s.Verify(ctx, VerifyOptions{Repair: true})
	if err != nil || len(report.Problems) != 2 || !report.Problems[0].Repaired || !report.Problems[1].Repaired {
		t.Errorf("%+v, %v, want two problems that are repaired", report, err)
	}
	wantHits(t, s, all[2:], true)
	if report, err := s.Verify(ctx, VerifyOptions{}); err != nil || report.Actions != 1 || len(report.Problems) != 0 {
		t.Errorf("afterwards: %+v, %v", report, err)
	}
}
