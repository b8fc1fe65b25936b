package gotorch

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Options say which libtorch to use and where the compiled shim is kept.
type Options struct {
	Dir      string                           // a libtorch: an unpacked zip, or a wheel's torch directory. Wins over everything else
	CacheDir string                           // where [Build] keeps compiled shims; created when absent. Required by Build and Open
	Getenv   func(string) string              // LIBTORCH and CXX are asked; nil: neither is set
	Log      func(format string, args ...any) // told what takes time (the compilation); nil: silent
}

func (o Options) getenv(name string) string {
	if o.Getenv == nil {
		return ""
	}
	return o.Getenv(name)
}

func (o Options) logf(format string, args ...any) {
	if o.Log != nil {
		o.Log(format, args...)
	}
}

// An Installation is one libtorch on this machine.
type Installation struct {
	Dir         string   // its root: the zip's or wheel's directory, or the system's prefix
	Source      string   // how it was found: "option", "LIBTORCH", "system" or "python"
	Version     string   // "1.13.0", as its headers say
	IncludeDirs []string // header directories, in search order
	LibDir      string   // holds libtorch_cpu and its siblings
	CUDA        bool     // it has the CUDA half; whether there is a device is another question
	CXX11ABI    bool     // its std::string is the one of GCC 5 and later
	Standard    string   // the C++ standard that its headers ask for, at least "c++17"
}

// Find looks for a libtorch: Options.Dir, $LIBTORCH, the system's directories,
// the torch package of python3. A directory named by the caller must hold one;
// Find does not fall through to the next place then. With none anywhere the
// error is a [*NotFoundError].
func Find(ctx context.Context, opts Options) (Installation, error) {
	if opts.Dir != "" {
		return inspectNamed(opts.Dir, "option")
	}
	if dir := opts.getenv("LIBTORCH"); dir != "" {
		return inspectNamed(dir, "LIBTORCH")
	}
	inst, tried := findSystem()
	if inst != nil {
		return *inst, nil
	}
	dir, err := pythonTorch(ctx)
	if err == nil {
		inst, err := inspect(dir, "python", wheelLayout(dir))
		if err == nil {
			return inst, nil
		}
		tried = append(tried, err.Error())
	} else {
		tried = append(tried, "python3: "+err.Error())
	}
	return Installation{}, &NotFoundError{Tried: tried}
}

func inspectNamed(dir, source string) (Installation, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Installation{}, fmt.Errorf("libtorch directory: %w", err)
	}
	var tried []string
	for _, l := range []layout{wheelLayout(dir), multiarchLayout(dir)} {
		inst, err := inspect(dir, source, l)
		if err == nil {
			return inst, nil
		}
		tried = append(tried, source+" "+err.Error())
	}
	return Installation{}, &NotFoundError{Tried: tried}
}

// layout is where an installation keeps its headers and libraries.
type layout struct {
	include string
	lib     string
}

// wheelLayout is shared by the libtorch zip and the Python wheel.
func wheelLayout(dir string) layout {
	return layout{include: filepath.Join(dir, "include"), lib: filepath.Join(dir, "lib")}
}

// multiarchLayout is Debian's, under a prefix such as /usr.
func multiarchLayout(prefix string) layout {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return layout{include: filepath.Join(prefix, "include"), lib: filepath.Join(prefix, "lib", triplet)}
}

// systemLayouts are where distributions and `make install` put libtorch.
func systemLayouts() []layout {
	return []layout{
		multiarchLayout("/usr"),
		{"/usr/include", "/usr/lib64"},
		{"/usr/include", "/usr/lib"},
		{"/usr/local/include", "/usr/local/lib"},
		{"/opt/libtorch/include", "/opt/libtorch/lib"},
		{"/usr/local/libtorch/include", "/usr/local/libtorch/lib"},
	}
}

func findSystem() (*Installation, []string) {
	var tried []string
	for _, l := range systemLayouts() {
		inst, err := inspect(filepath.Dir(l.include), "system", l)
		if err == nil {
			return &inst, nil
		}
		tried = append(tried, err.Error())
	}
	return nil, tried
}

// pythonTorch asks for the package's place without importing it: that would
// take seconds.
func pythonTorch(ctx context.Context) (string, error) {
	const program = `import importlib.util as u
s = u.find_spec("torch")
print(s.submodule_search_locations[0] if s else "")`
	out, err := exec.CommandContext(ctx, "python3", "-c", program).Output()
	if err != nil {
		return "", err
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", errors.New("has no torch package")
	}
	return dir, nil
}

func inspect(dir, source string, l layout) (Installation, error) {
	cpu := filepath.Join(l.lib, libraryFile("torch_cpu"))
	if _, err := os.Stat(cpu); err != nil {
		return Installation{}, fmt.Errorf("%s: no %s", l.lib, filepath.Base(cpu))
	}
	api := filepath.Join(l.include, "torch", "csrc", "api", "include")
	if _, err := os.Stat(filepath.Join(l.include, "ATen", "core", "dispatch", "Dispatcher.h")); err != nil {
		return Installation{}, fmt.Errorf("%s: no libtorch headers (the shim is compiled against them)", l.include)
	}
	version, err := readVersion(l.include, api)
	if err != nil {
		return Installation{}, err
	}
	abi, err := usesCXX11ABI(filepath.Join(l.lib, libraryFile("c10")))
	if err != nil {
		return Installation{}, err
	}
	_, err = os.Stat(filepath.Join(l.lib, libraryFile("torch_cuda")))
	return Installation{
		Dir: dir, Source: source, Version: version,
		IncludeDirs: []string{l.include, api}, LibDir: l.lib,
		CUDA: err == nil, CXX11ABI: abi, Standard: standard(api),
	}, nil
}

func libraryFile(name string) string {
	if runtime.GOOS == "darwin" {
		return "lib" + name + ".dylib"
	}
	return "lib" + name + ".so"
}

var versionLine = regexp.MustCompile(`(?m)^#define\s+TORCH_VERSION_(MAJOR|MINOR|PATCH)\s+(\d+)`)

// readVersion reads version.h, which newer releases moved.
func readVersion(include, api string) (string, error) {
	for _, file := range []string{
		filepath.Join(include, "torch", "headeronly", "version.h"),
		filepath.Join(api, "torch", "version.h"),
	} {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("reading libtorch's version: %w", err)
		}
		part := map[string]string{}
		for _, m := range versionLine.FindAllStringSubmatch(string(text), -1) {
			part[m[1]] = m[2]
		}
		if len(part) == 3 {
			return part["MAJOR"] + "." + part["MINOR"] + "." + part["PATCH"], nil
		}
	}
	return "", fmt.Errorf("%s: no version.h with a libtorch version", include)
}

// usesCXX11ABI asks the library itself how it spells std::string: the answer
// differs between wheels, zips and distributions of one version, and a wrong
// guess shows only as undefined symbols when the shim is loaded.
func usesCXX11ABI(libc10 string) (bool, error) {
	if runtime.GOOS != "linux" {
		return true, nil // libc++ has one ABI; the flag means nothing there
	}
	f, err := elf.Open(libc10)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", libc10, err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return false, fmt.Errorf("reading the symbols of %s: %w", libc10, err)
	}
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF && strings.HasPrefix(s.Name, "_ZN3c105ErrorC") && strings.Contains(s.Name, "__cxx11") {
			return true, nil
		}
	}
	return false, nil
}

var standardLine = regexp.MustCompile(`C\+\+(\d\d) or later`)

// standard is the C++ standard that the headers ask for. The shim itself needs
// C++17.
func standard(api string) string {
	text, err := os.ReadFile(filepath.Join(api, "torch", "all.h"))
	if err == nil {
		if m := standardLine.FindSubmatch(text); m != nil && string(m[1]) > "17" {
			return "c++" + string(m[1])
		}
	}
	return "c++17"
}
