package disk

import (
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
	if collected := s.resultsOf(ctx, storetest.Key("collected meanwhile"), c.now); collected != nil {
		t.Errorf("one whose action is gone: %+v", collected)
	}
	stop := errors.New("enough")
	if err := s.EachResult(ctx, func(Result) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a visit that ends it: %v", err)
	}
}
