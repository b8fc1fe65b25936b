package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// TestPullBringsRows: who goes offline with what a run downloaded has, after a
// pull, the rows behind it, too. A run that downloads a result asks for none.
func TestPullBringsRows(t *testing.T) {
	site := newPictureSite(t)
	share := "file://" + t.TempDir()
	ann, bob := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}, process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	for _, p := range []process{ann, bob} {
		picturesPipeline(t, p.dir, site.URL, 3, 1)
	}
	ann.must(t, "run", "p.toml", "--remote", share)
	if output := bob.must(t, "run", "p.toml", "--remote", share); !strings.Contains(output, "downloaded 2") {
		t.Fatalf("bob's run:\n%s", output)
	}
	if output := bob.must(t, "cache", "pull", "p.toml", "--remote", share); !strings.Contains(output, "here  images") {
		t.Fatalf("bob's pull:\n%s", output)
	}
	before := site.total()
	picturesPipeline(t, bob.dir, site.URL, 4, 1)
	bob.must(t, "run", "p.toml", "--remote", "none")
	if more := site.total() - before; before != 3 || more != 1 {
		t.Errorf("%d pictures were downloaded by ann and %d by bob, want 3 and the new one", before, more)
	}
}

// TestVerificationThatIsLeft: who asked for a repair is not sent to ask for it.
func TestVerificationThatIsLeft(t *testing.T) {
	report := cacheVerifyReport{VerifyReport: disk.VerifyReport{Problems: []disk.Problem{{Name: "a", Error: "may not be read"}, {Name: "b", Error: "is gone", Repaired: true}}}}
	report.judge()
	for repair, want := range map[bool]string{
		false: `2 problems; "prismflow cache verify --repair" takes out what is broken`,
		true:  "2 problems, of which 1 could not be repaired: the cause is above",
	} {
		s, out, _ := atDesk(t, nil)
		if err := report.write(cacheOptions{}, repair, s); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("repair %v: %q, %v, want %q", repair, out, err, want)
		}
	}
}
