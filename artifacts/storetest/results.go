package storetest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

func publish(t *testing.T, s artifacts.Store, m artifacts.Manifest) artifacts.Manifest {
	t.Helper()
	standing, err := artifacts.Publish(ctx, s, m)
	if err != nil {
		t.Fatalf("Publish: %v", err)
	}
	return standing
}

func publishAndLookup(t *testing.T, s artifacts.Store) {
	m := Manifest(t, s, 1, map[string][]byte{"one": []byte("1"), "two": []byte("22"), "empty": nil})
	publish(t, s, m)
	got, err := artifacts.Lookup(ctx, s, m.Key)
	if err != nil {
		t.Fatalf("Lookup: %v", err)
	}
	want, _ := m.Encode()
	if b, err := got.Encode(); err != nil || !bytes.Equal(b, want) {
		t.Errorf("Lookup: %s, %v, want %s", b, err, want)
	}
	later := m
	later.Provenance.Seconds = 99
	if standing := publish(t, s, later); standing.Provenance.Seconds != 0.25 {
		t.Error("a later execution with the same result replaced the first")
	}
	if err := artifacts.Replace(ctx, s, later); err != nil {
		t.Fatalf("Replace: %v", err)
	}
	if got, err := artifacts.LookupManifest(ctx, s, m.Key); err != nil || got.Provenance.Seconds != 99 {
		t.Errorf("after Replace: %v, %v seconds, want 99", err, got.Provenance.Seconds)
	}
}

func publishWithoutOutput(t *testing.T, s artifacts.Store) {
	m := Manifest(t, s, 2, nil)
	m.Outputs["table"] = artifacts.Output{Digest: artifacts.DigestOf([]byte("not stored")), Bytes: 10}
	if _, err := artifacts.Publish(ctx, s, m); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Publish: %v, want ErrNotFound", err)
	}
	if _, err := s.GetAction(ctx, m.Key); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("GetAction: %v, want ErrNotFound", err)
	}
}

func alternatives(t *testing.T, s artifacts.Store) {
	first := Manifest(t, s, 3, map[string][]byte{"model": []byte("trained on a GPU")})
	second := Manifest(t, s, 3, map[string][]byte{"model": []byte("trained on a CPU")})
	publish(t, s, first)
	for range 2 {
		if standing := publish(t, s, second); standing.Outputs["model"].Digest != first.Outputs["model"].Digest {
			t.Errorf("what stands is not what was published first")
		}
	}
	alts, err := artifacts.Alternatives(ctx, s, first.Key)
	if err != nil || len(alts) != 1 || alts[0].Outputs["model"].Digest != second.Outputs["model"].Digest {
		t.Errorf("Alternatives: %v, %v, want the second", alts, err)
	}
	if _, err := artifacts.Lookup(ctx, s, first.Key); err != nil {
		t.Errorf("Lookup: %v", err)
	}
}

func publishOverUnusable(t *testing.T, s artifacts.Store) {
	m := Manifest(t, s, 4, map[string][]byte{"table": []byte("rows")})
	gone := artifacts.DigestOf([]byte("evicted"))
	for name, action := range map[string][]byte{
		"garbage":        []byte("\xff\xff\xff"),
		"empty":          {},
		"no manifest":    artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: artifacts.ManifestPath, Digest: gone, Bytes: 3}}}.Encode(),
		"not a manifest": artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: artifacts.ManifestPath, Digest: m.Outputs["table"].Digest, Bytes: 4}}}.Encode(),
	} {
		putAction(t, s, m.Key, string(action), true)
		var miss *artifacts.Miss
		if _, err := artifacts.Lookup(ctx, s, m.Key); !errors.As(err, &miss) {
			t.Errorf("%s: Lookup: %v, want a Miss", name, err)
		}
		publish(t, s, m)
		if _, err := artifacts.Lookup(ctx, s, m.Key); err != nil {
			t.Errorf("%s: Lookup after Publish: %v", name, err)
		}
	}
}

// A complete result takes the place of an incomplete one, and no other of it.
func publishOverIncomplete(t *testing.T, s artifacts.Store) {
	result := func(incomplete, bytes string) artifacts.Manifest {
		m := Manifest(t, s, 5, map[string][]byte{"table": []byte(bytes)})
		m.Incomplete = incomplete
		return m
	}
	for _, step := range []struct {
		publish artifacts.Manifest
		stands  string
	}{
		{result("3 rows failed", "few rows"), "3 rows failed"},
		{result("1 row failed", "more rows"), "3 rows failed"},
		{result("", "few rows"), ""},
		{result("2 rows failed", "few rows"), ""},
		{result("4 rows failed", "fewer rows"), ""},
	} {
		if got := publish(t, s, step.publish); got.Incomplete != step.stands {
			t.Errorf("%q published: %q stands, want %q", step.publish.Incomplete, got.Incomplete, step.stands)
		}
		if got, err := artifacts.Lookup(ctx, s, step.publish.Key); err != nil || got.Incomplete != step.stands {
			t.Errorf("%q published: Lookup says %q, %v, want %q", step.publish.Incomplete, got.Incomplete, err, step.stands)
		}
	}
	if others, err := artifacts.Alternatives(ctx, s, result("", "").Key); err != nil || len(others) != 0 {
		t.Errorf("kept beside it: %v, %v", others, err)
	}
}
