package gotorch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// standIn is an installation and a compiler that only pretend: the compiler
// counts its runs, waits a little, and writes its result.
type standIn struct {
	t        *testing.T
	dir      string
	compiler string
	inst     gotorch.Installation
	opts     gotorch.Options
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("needs sh:", err)
	}
	dir := t.TempDir()
	f := &standIn{t: t, dir: dir, compiler: filepath.Join(dir, "compiler")}
	f.write("lib/libtorch_cpu.so", "library")
	f.setCompiler("1.0", `sleep 0.1; while [ "$1" != -o ]; do shift; done; echo shim > "$2"`)
	f.inst = gotorch.Installation{Dir: dir, Version: "9.9.9", IncludeDirs: []string{dir}, LibDir: filepath.Join(dir, "lib"), Standard: "c++17"}
	f.opts = gotorch.Options{CacheDir: filepath.Join(dir, "cache"), Getenv: func(name string) string {
		if name == "CXX" {
			return f.compiler
		}
		return ""
	}}
	return f
}

func (f *standIn) write(name, text string) {
	f.t.Helper()
	file := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o777); err != nil {
		f.t.Fatal(err)
	}
}

func (f *standIn) setCompiler(version, compile string) {
	f.t.Helper()
	f.write("compiler", fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = --version ]; then echo %s; exit; fi\necho run >> %s/runs\n%s\n", version, f.dir, compile))
}

func (f *standIn) runs() int {
	text, _ := os.ReadFile(filepath.Join(f.dir, "runs"))
	return strings.Count(string(text), "run")
}

func (f *standIn) build() string {
	f.t.Helper()
	path, err := gotorch.Build(f.t.Context(), f.inst, f.opts)
	if err != nil {
		f.t.Fatal(err)
	}
	return path
}

func TestBuildReusesWhatDependsOnTheSameThings(t *testing.T) {
	f := newStandIn(t)
	first := f.build()
	if again := f.build(); again != first || f.runs() != 1 {
		t.Errorf("built %d times: %s, %s", f.runs(), first, again)
	}
	seen := map[string]bool{first: true}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"libtorch's version", func() { f.inst.Version = "9.9.10" }},
		{"libtorch's file", func() { f.write("lib/libtorch_cpu.so", "another library") }},
		{"the C++ ABI", func() { f.inst.CXX11ABI = true }},
		{"the standard", func() { f.inst.Standard = "c++20" }},
		{"CUDA", func() { f.inst.CUDA = true }},
		{"the compiler's version", func() {
			f.setCompiler("2.0", `while [ "$1" != -o ]; do shift; done; echo shim > "$2"`)
		}},
	} {
		before := f.runs()
		c.change()
		if path := f.build(); seen[path] || f.runs() != before+1 {
			t.Errorf("changing %s: %d more builds, path %s", c.name, f.runs()-before, path)
		} else {
			seen[path] = true
		}
	}
}

func TestBuildAtOnceCompilesOnce(t *testing.T) {
	f := newStandIn(t)
	paths := make([]string, 8)
	var wg sync.WaitGroup
	for i := range paths {
		wg.Go(func() {
			var err error
			if paths[i], err = gotorch.Build(t.Context(), f.inst, f.opts); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, p := range paths {
		if p != paths[0] {
			t.Errorf("two paths: %s, %s", p, paths[0])
		}
	}
	if f.runs() != 1 {
		t.Errorf("compiled %d times", f.runs())
	}
}

func TestBuildFailureShowsTheCompilersWords(t *testing.T) {
	f := newStandIn(t)
	f.setCompiler("1.0", `while [ "$1" != -o ]; do shift; done; echo half > "$2"; echo "shim.cc:1: no such header" >&2; exit 3`)
	_, err := gotorch.Build(t.Context(), f.inst, f.opts)
	var e *gotorch.BuildError
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	wantContains(t, e.Error(), "exit status 3", "shim.cc:1: no such header", f.compiler)
	left, _ := filepath.Glob(filepath.Join(f.opts.CacheDir, "*"))
	for _, file := range left {
		if !strings.HasSuffix(file, ".lock") {
			t.Errorf("left behind: %s", file)
		}
	}
}

// Toolkit headers of another version than libtorch's, or half of them, must not
// keep a machine from training.
func TestBuildDoesWithoutTheToolkit(t *testing.T) {
	f := newStandIn(t)
	f.inst.CUDA = true
	f.setCompiler("1.0", `case "$*" in *-DPF_NO_TOOLKIT*) ;; *) echo "cuda.h: no such type" >&2; exit 3;; esac
while [ "$1" != -o ]; do shift; done; echo shim > "$2"`)
	var log strings.Builder
	f.opts.Log = func(format string, args ...any) { fmt.Fprintf(&log, format+"\n", args...) }
	f.build()
	wantContains(t, log.String(), "cuda.h: no such type", "compiling again without")
	if f.runs() != 2 {
		t.Errorf("compiled %d times", f.runs())
	}
}

func TestBuildStopsWhenCancelled(t *testing.T) {
	f := newStandIn(t)
	f.setCompiler("1.0", "exec sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	f.opts.Log = func(string, ...any) { time.AfterFunc(50*time.Millisecond, cancel) }
	if _, err := gotorch.Build(ctx, f.inst, f.opts); err == nil {
		t.Error("a cancelled build succeeded")
	}
}

func TestBuildWithoutCompiler(t *testing.T) {
	f := newStandIn(t)
	compiler := f.compiler
	f.compiler = "no-such-compiler"
	_, err := gotorch.Build(t.Context(), f.inst, f.opts)
	if !errors.Is(err, gotorch.ErrNoCompiler) {
		t.Fatalf("got %v", err)
	}
	wantContains(t, err.Error(), "no-such-compiler", "apt-get install g++")

	f.compiler = compiler
	path := f.build()
	f.compiler = "no-such-compiler"
	if got := f.build(); got != path {
		t.Errorf("took %s, want the one built before, %s", got, path)
	}
}

func TestBuildNeedsACacheDirectory(t *testing.T) {
	f := newStandIn(t)
	f.opts.CacheDir = ""
	if _, err := gotorch.Build(t.Context(), f.inst, f.opts); err == nil {
		t.Error("accepted")
	}
}

func TestFindNamedDirectory(t *testing.T) {
	empty := t.TempDir()
	for name, opts := range map[string]gotorch.Options{
		"option": {Dir: empty},
		"LIBTORCH": {Getenv: func(name string) string {
			if name == "LIBTORCH" {
				return empty
			}
			return ""
		}},
	} {
		_, err := gotorch.Find(t.Context(), opts)
		if !errors.Is(err, gotorch.ErrNoLibtorch) {
			t.Fatalf("%s: got %v", name, err)
		}
		wantContains(t, err.Error(), name, empty, "apt-get install libtorch-dev libopenblas0-openmp g++", "--libtorch DIR")
	}
}

// A libtorch named by its prefix is found as the system's own is.
func TestFindByPrefix(t *testing.T) {
	inst := torchtest.Open(t).Installation()
	if inst.Source != "system" {
		t.Skip("the libtorch in use is not the system's")
	}
	named, err := gotorch.Find(t.Context(), gotorch.Options{Dir: inst.Dir})
	if err != nil {
		t.Fatal(err)
	}
	if named.LibDir != inst.LibDir || named.Version != inst.Version || named.CXX11ABI != inst.CXX11ABI {
		t.Errorf("found %+v, want %+v", named, inst)
	}
}

// One process has one libtorch; asking for it again does not load it again.
func TestOpenAgain(t *testing.T) {
	lib := torchtest.Open(t)
	if again := torchtest.Open(t); again != lib {
		t.Error("opened twice")
	}
	if filepath.Dir(lib.Path()) != torchtest.Options().CacheDir {
		t.Errorf("shim at %s", lib.Path())
	}
}
