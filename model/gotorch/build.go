package gotorch

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

//go:embed shim/gotorch.cc
var shimSource []byte

// lockRetry is how often a process asks whether another one has finished
// compiling the same shim.
const lockRetry = 100 * time.Millisecond

// maxCompilerOutput bounds how much of the compiler's output an error carries.
const maxCompilerOutput = 4 << 10

// Build compiles the shim for an installation, once, and returns the path of
// the shared library in Options.CacheDir. The name holds hashes of all that the
// result depends on: the shim's source, the libtorch and its file, the flags,
// and the compiler. Several processes may build at once: one compiles, the
// others wait and take its result.
//
// Without a compiler Build takes a shim that any compiler made for this
// libtorch, and fails with [ErrNoCompiler] when there is none.
func Build(ctx context.Context, inst Installation, opts Options) (string, error) {
	if opts.CacheDir == "" {
		return "", fmt.Errorf("building the libtorch shim: no cache directory given")
	}
	if err := os.MkdirAll(opts.CacheDir, 0o777); err != nil {
		return "", fmt.Errorf("building the libtorch shim: %w", err)
	}
	libKey, err := libraryKey(inst)
	if err != nil {
		return "", err
	}
	compiler, err := findCompiler(ctx, opts)
	if err != nil {
		return anyBuilt(opts.CacheDir, libKey, err)
	}
	target := filepath.Join(opts.CacheDir, fmt.Sprintf("shim-%s-%s%s", libKey, compiler.key(), filepath.Ext(libraryFile(""))))
	if exists(target) {
		return target, nil
	}
	return target, buildLocked(ctx, inst, opts, compiler, target)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func buildLocked(ctx context.Context, inst Installation, opts Options, compiler compiler, target string) error {
	lock := flock.New(target + ".lock")
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return fmt.Errorf("waiting for another process to build the libtorch shim: %w", err)
	}
	defer lock.Close()
	if exists(target) {
		return nil
	}
	opts.logf("compiling the shim for libtorch %s in %s with %s", inst.Version, inst.LibDir, compiler.path)
	start := time.Now()
	if err := compile(ctx, inst, opts, compiler, target); err != nil {
		return err
	}
	opts.logf("compiled the shim in %.1f s: %s", time.Since(start).Seconds(), target)
	return nil
}

// compile writes to a directory of its own beside the target and renames, so
// that a killed compiler leaves no half library under the target's name.
func compile(ctx context.Context, inst Installation, opts Options, compiler compiler, target string) error {
	work, err := os.MkdirTemp(opts.CacheDir, "build-*")
	if err != nil {
		return fmt.Errorf("building the libtorch shim: %w", err)
	}
	defer os.RemoveAll(work)
	source := filepath.Join(work, "shim.cc")
	if err := os.WriteFile(source, shimSource, 0o666); err != nil {
		return fmt.Errorf("building the libtorch shim: %w", err)
	}
	result := filepath.Join(work, "shim.so")
	err = runCompiler(ctx, compiler, inst, source, result)
	if err != nil && inst.CUDA && ctx.Err() == nil {
		opts.logf("%v\ncompiling again without what needs the CUDA toolkit's headers: captured graphs and memory figures", err)
		err = runCompiler(ctx, compiler, inst, source, result, "-DPF_NO_TOOLKIT")
	}
	if err != nil {
		return err
	}
	if err := os.Rename(result, target); err != nil {
		return fmt.Errorf("building the libtorch shim: %w", err)
	}
	return nil
}

func runCompiler(ctx context.Context, compiler compiler, inst Installation, source, result string, extra ...string) error {
	args := append(compileFlags(inst), extra...)
	args = append(args, source, "-o", result)
	args = append(args, linkFlags(inst)...)
	cmd := exec.CommandContext(ctx, compiler.path, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return &BuildError{Command: cmd.String(), Output: tail(output.String(), maxCompilerOutput), Err: err}
	}
	return nil
}

func compileFlags(inst Installation) []string {
	abi := 0
	if inst.CXX11ABI {
		abi = 1
	}
	flags := []string{"-std=" + inst.Standard, "-O2", "-fPIC", "-shared", "-w", fmt.Sprintf("-D_GLIBCXX_USE_CXX11_ABI=%d", abi)}
	for _, dir := range inst.IncludeDirs {
		flags = append(flags, "-I"+dir)
	}
	if inst.CUDA {
		flags = append(flags, "-DPF_CUDA")
		for _, dir := range cudaIncludeDirs(inst) {
			flags = append(flags, "-I"+dir)
		}
	}
	return flags
}

// cudaIncludeDirs are where the toolkit's headers may be: the toolkit, or the
// NVIDIA wheels beside a torch wheel. Captured graphs and allocator statistics
// need them; the shim does without where there are none.
func cudaIncludeDirs(inst Installation) []string {
	var found []string
	site := filepath.Dir(inst.Dir)
	for _, pattern := range []string{
		"/usr/local/cuda/include",
		filepath.Join(site, "nvidia", "cuda_runtime", "include"),
		filepath.Join(site, "nvidia", "cu[0-9]*", "include"),
	} {
		matches, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		for _, dir := range matches {
			if exists(filepath.Join(dir, "cuda_runtime_api.h")) {
				found = append(found, dir)
			}
		}
	}
	return found
}

// linkFlags keep libraries that the shim names no symbol of: the CUDA half
// registers its kernels when it is loaded, and a linker told --as-needed
// (Debian's default) would drop it.
func linkFlags(inst Installation) []string {
	flags := []string{"-L" + inst.LibDir, "-Wl,-rpath," + inst.LibDir}
	if runtime.GOOS == "linux" {
		flags = append(flags, "-Wl,--no-as-needed")
	}
	flags = append(flags, "-ltorch_cpu", "-lc10")
	if inst.CUDA {
		flags = append(flags, "-ltorch_cuda", "-lc10_cuda")
	}
	return append(flags, "-ltorch")
}

// libraryKey hashes what the shim depends on apart from the compiler. Size and
// time of the library stand for its content, which is hundreds of megabytes.
func libraryKey(inst Installation) (string, error) {
	cpu := filepath.Join(inst.LibDir, libraryFile("torch_cpu"))
	info, err := os.Stat(cpu)
	if err != nil {
		return "", fmt.Errorf("building the libtorch shim: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%x\n%s\n%s\n%d\n%d\n", sha256.Sum256(shimSource), inst.LibDir, inst.Version, info.Size(), info.ModTime().UnixNano())
	fmt.Fprintf(h, "%q\n%q\n%s/%s\n", compileFlags(inst), linkFlags(inst), runtime.GOOS, runtime.GOARCH)
	return shortHash(h.Sum(nil)), nil
}

func shortHash(sum []byte) string { return hex.EncodeToString(sum)[:16] }

// anyBuilt serves machines that share a cache with one that has a compiler.
func anyBuilt(cacheDir, libKey string, reason error) (string, error) {
	matches, _ := filepath.Glob(filepath.Join(cacheDir, "shim-"+libKey+"-*"+filepath.Ext(libraryFile(""))))
	if len(matches) == 0 {
		return "", reason
	}
	return matches[0], nil
}

type compiler struct {
	path    string
	version string // the first line of --version
}

func (c compiler) key() string {
	sum := sha256.Sum256([]byte(c.path + "\n" + c.version))
	return shortHash(sum[:])
}

func findCompiler(ctx context.Context, opts Options) (compiler, error) {
	names := []string{"g++", "c++", "clang++"}
	if cxx := opts.getenv("CXX"); cxx != "" {
		names = []string{cxx}
	}
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			return compiler{}, fmt.Errorf("asking %s for its version: %w", path, err)
		}
		return compiler{path: path, version: firstLine(string(out))}, nil
	}
	return compiler{}, fmt.Errorf("%w (tried %s): install one with `apt-get install g++`, or name one with CXX", ErrNoCompiler, strings.Join(names, ", "))
}

func tail(text string, limit int) string {
	text = strings.TrimSpace(text)
	if len(text) <= limit {
		return text
	}
	return "…" + strings.ToValidUTF8(text[len(text)-limit:], "")
}
