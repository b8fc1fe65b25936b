package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/stages/gunzip"
	"github.com/prismflow/prismflow/stages/picture"
)

// doctorReport is what `doctor --json` prints.
type doctorReport struct {
	Format int     `json:"format"`
	OK     bool    `json:"ok"` // data stages run; models may still lack something
	Checks []check `json:"checks"`
}

// A check is one thing that doctor looked at.
type check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok, missing (something runs worse or not at all) or broken (nothing runs)
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// States of a check.
const (
	checkOK      = "ok"
	checkMissing = "missing"
	checkBroken  = "broken"
)

const doctorDoc = `Doctor looks at what prismflow needs from this machine: a cache that can be
written to, the libraries that decode pictures and inflate gzip files, and for
models libtorch, a C++ compiler and devices. It compiles what connects to libtorch
if that was not done before. Of each remote, those of a pipeline file included if
one is named, it says whether it answers, how fast, and whether it takes uploads,
for which it leaves a file of a few bytes there. For each missing thing it says
what to do. The exit code is 1 only if not even data stages can run.`

func newDoctorCommand(s *streams) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:               "doctor [FILE]",
		Short:             "Check what prismflow needs from this machine",
		Long:              doctorDoc,
		Example:           "  prismflow doctor\n  prismflow doctor pipeline.toml\n  prismflow doctor --remote s3://team-cache --json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.pipeline = args[0]
			}
			return runDoctor(cmd.Context(), o, s)
		},
	}
	o.register(cmd)
	registerRemote(cmd, &o.remotes)
	registerOffline(cmd, &o.offline)
	cmd.Flags().StringVar(&o.libtorch, "libtorch", "", "use the libtorch in `DIR`")
	return cmd
}

type doctorOptions struct {
	cacheOptions
	libtorch string
	pipeline string
	remotes  []string
	offline  bool
}

func runDoctor(ctx context.Context, o doctorOptions, s *streams) error {
	remotes, err := checkRemotes(ctx, o, s)
	if err != nil {
		return err
	}
	report := doctorReport{Format: 1, OK: true}
	report.Checks = append(report.Checks, checkProgram(), checkMachine(), checkCache(ctx, o.cache, s), checkPictures(), checkGzip(), checkCompiler(s))
	report.Checks = append(report.Checks, checkTorch(ctx, o.libtorch, s)...)
	report.Checks = append(report.Checks, remotes...)
	for _, c := range report.Checks {
		report.OK = report.OK && c.State != checkBroken
	}
	if o.json {
		if err := writeJSON(s.out, report); err != nil {
			return err
		}
	} else {
		writeChecks(s, report)
	}
	if !report.OK {
		return reportedError{errors.New("prismflow cannot run here")}
	}
	return nil
}

func writeChecks(s *streams, report doctorReport) {
	paint := painter{s.colourful(s.out)}
	colours := map[string]string{checkOK: green, checkMissing: bold, checkBroken: red}
	for _, c := range report.Checks {
		s.out.printf("%s %-9s %s\n", paint.in(colours[c.State], fmt.Sprintf("%-8s", c.State)), c.Name, c.Text)
		if c.Remedy != "" {
			s.out.printf("%18s → %s\n", "", strings.ReplaceAll(c.Remedy, "\n", "\n"+strings.Repeat(" ", 21)))
		}
	}
}

func checkProgram() check {
	v := buildVersion()
	return check{Name: "prismflow", State: checkOK, Text: fmt.Sprintf("%s, built with %s", v.revised(), v.Go)}
}

func checkMachine() check {
	text := fmt.Sprintf("%s, %s", runtime.GOOS+"/"+runtime.GOARCH, count(runtime.GOMAXPROCS(0), "cpu"))
	if memory := machineMemory(); memory > 0 {
		text += ", " + byteSize(memory) + " of memory"
	}
	return check{Name: "machine", State: checkOK, Text: text}
}

// littleSpace is how much free space is worth a warning.
const littleSpace = 2 << 30

// checkCache opens the cache and writes to it.
func checkCache(ctx context.Context, flag string, s *streams) check {
	c := check{Name: "cache", State: checkBroken, Remedy: "name another place by --cache DIR or $PRISMFLOW_CACHE"}
	store, err := openStore(flag, "", s)
	if err != nil {
		c.Text = err.Error()
		return c
	}
	defer store.Close()
	if err := tryStore(store); err != nil {
		c.Text = fmt.Sprintf("%s cannot be written to: %v", store.Dir(), err)
		return c
	}
	usage, err := store.Usage(ctx)
	if err != nil {
		c.Text = fmt.Sprintf("%s: %v", store.Dir(), err)
		return c
	}
	c.State, c.Remedy = checkOK, ""
	c.Text = fmt.Sprintf("%s: %s, %s", store.Dir(), count(usage.Actions.Files, "result"), byteSize(usage.Blobs.Bytes))
	if free, ok := freeSpace(store.Dir()); ok {
		c.Text += ", " + byteSize(free) + " free"
		if free < littleSpace {
			c.Remedy = "make room: prismflow cache gc --max-size SIZE"
		}
	}
	checkSharing(&c, store)
	return c
}

// checkSharing says of a cache that a group shares whether all of it is the
// group's to write, and of one on a network mount whether its locks hold there.
func checkSharing(c *check, store *disk.Store) {
	shared, closed, err := store.Sharing()
	switch {
	case err != nil:
		c.Text += fmt.Sprintf("; who may share it cannot be told: %v", err)
	case len(closed) > 0:
		c.State = checkMissing
		c.Text += fmt.Sprintf(", shared, but the group may not write to %s of it (%s)", count(len(closed), "part"), closed[0])
		c.Remedy = fmt.Sprintf("as their owner: find %[1]s -type d -exec chmod g+s {} + ; chmod -R g=u %[1]s", shellWord(store.Dir()))
	case shared:
		c.Text += ", shared by its group"
	}
	if option := store.LocalLocks(); option != "" {
		c.State = checkMissing
		c.Text += fmt.Sprintf(", on a mount whose locks other hosts do not see (%s)", option)
		c.Remedy = strings.TrimPrefix(c.Remedy+"\nif other hosts use it too: mount it without that option, or name it as a remote (file://…) and another cache", "\n")
	}
}

// tryStore writes to the store, and takes a lock as runs do.
func tryStore(store *disk.Store) error {
	dir, err := store.TempDir("doctor")
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/file", []byte("prismflow"), 0o666); err != nil {
		return err
	}
	return store.RemoveTemp(dir)
}

func freeSpace(dir string) (int64, bool) {
	var info unix.Statfs_t
	if unix.Statfs(dir, &info) != nil {
		return 0, false
	}
	return int64(info.Bavail) * int64(info.Bsize), true
}

// checkPictures says what pictures are decoded by. Go's decoders always are there,
// so that nothing is missing for running, but their pixels are others.
func checkPictures() check {
	c := check{Name: "pictures", State: checkOK}
	decoder, err := picture.Open(picture.Auto)
	if err != nil {
		c.State, c.Text = checkBroken, err.Error()
		return c
	}
	c.Text = "decoded by " + strings.ReplaceAll(decoder.Name(), ",", " and ")
	versions := decoder.Versions()
	for _, library := range slices.Sorted(maps.Keys(versions)) {
		c.Text = strings.Replace(c.Text, library, library+" "+versions[library], 1)
	}
	if err := decoder.Missing(); err != nil {
		c.State = checkMissing
		c.Text += ": slower, and to other pixels than the libraries of other machines"
		c.Remedy = err.Error()
	}
	return c
}

// checkGzip says what gzip files are inflated by. Without the library it takes
// longer, and gives the same.
func checkGzip() check {
	library, err := gunzip.Library()
	if err != nil {
		return check{Name: "gzip", State: checkMissing, Text: "inflated by Go: the same bytes, several times slower", Remedy: err.Error()}
	}
	return check{Name: "gzip", State: checkOK, Text: "inflated by " + library}
}

func checkCompiler(s *streams) check {
	names := []string{"c++", "g++", "clang++"}
	if cxx := s.env("CXX"); cxx != "" {
		names = []string{cxx}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return check{Name: "compiler", State: checkOK, Text: path}
		}
	}
	return check{Name: "compiler", State: checkMissing, Text: "no C++ compiler (" + strings.Join(names, ", ") + ")",
		Remedy: "needed once, to connect to libtorch: apt-get install g++, or set CXX"}
}

// checkTorch finds and loads libtorch.
func checkTorch(ctx context.Context, dir string, s *streams) []check {
	c := check{Name: "libtorch", State: checkMissing}
	options, err := torchOptions(dir, s)
	if err != nil {
		c.Text = err.Error()
		return []check{c}
	}
	options.Log = func(format string, args ...any) { s.err.printf(format+"\n", args...) }
	library, err := gotorch.Open(ctx, options)
	switch {
	case errors.Is(err, gotorch.ErrNoLibtorch):
		c.Text = "not found; data stages run without it, models do not"
		c.Remedy = err.Error()
		return []check{c}
	case errors.Is(err, gotorch.ErrNoCompiler):
		c.Text, c.Remedy = "found, but what connects to it is not compiled", "install a C++ compiler"
		return []check{c}
	case err != nil:
		c.Text = err.Error()
		return []check{c}
	}
	report := reportInstallation(library.Installation(), library.Path())
	report.CUDADevices = library.DeviceCount(gotorch.CUDA)
	return []check{
		{Name: "libtorch", State: checkOK, Text: fmt.Sprintf("%s in %s", report.Version, report.LibDir), Remedy: strings.Join(library.Advice(), "\n")},
		{Name: "shim", State: checkOK, Text: report.Shim},
		{Name: "devices", State: checkOK, Text: devicesText(report)},
	}
}
