package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/groupmode"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
)

// An execution is one attempt to run a stage: its directory, its log, its
// environment. Outputs are written inside the store's own file system, so that
// keeping them is a rename.
type execution struct {
	task      *task
	workspace string
	log       *os.File
	env       *stages.Env
	memos     memos
	manifest  artifacts.Manifest
}

func (t *task) prepare(ctx context.Context) (x *execution, err error) {
	store := t.run.engine.config.Store
	x = &execution{task: t, memos: memos{task: t}}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	if x.workspace, err = store.TempDir("stage"); err != nil {
		return x, fmt.Errorf("making a directory for the stage: %w", err)
	}
	for _, dir := range []string{"out", "scratch"} {
		if err := groupmode.Mkdir(filepath.Join(x.workspace, dir)); err != nil {
			return x, err
		}
	}
	// A further attempt adds to the log of the one before.
	if x.log, err = os.OpenFile(t.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o666); err != nil {
		return x, fmt.Errorf("opening the stage's log: %w", err)
	}
	groupmode.Share(x.log)
	x.env = t.environment(x)
	if t.afresh {
		x.forget()
	}
	return x, x.wire(ctx)
}

// environment is what the stage has of the world, without its files.
func (t *task) environment(x *execution) *stages.Env {
	config, emit := t.run.engine.config, t.listener()
	return &stages.Env{
		Name:      t.spec.Name,
		Inputs:    map[string]string{},
		Sources:   map[string][]stages.File{},
		Outputs:   map[string]string{},
		Scratch:   filepath.Join(x.workspace, "scratch"),
		Resume:    t.checkpoint(),
		Torch:     config.Torch,
		Offline:   config.Offline,
		Console:   lossy{x.log},
		LookupEnv: config.LookupEnv,
		Log: zerolog.New(zerolog.MultiLevelWriter(x.console(), eventWriter(func(level, message string, fields map[string]any) {
			emit(dag.Event{Type: dag.StageLog, Level: level, Message: message, Fields: fields})
		}))).With().Timestamp().Logger(),
		OnProgress: func(done, total int64, unit string) {
			emit(dag.Event{Type: dag.StageProgress, Done: done, Total: total, Unit: unit})
		},
		OnMetrics: func(values map[string]any) { emit(dag.Event{Type: dag.StageMetrics, Fields: values}) },
		OpenMemo:  x.memos.Open,
	}
}

// console formats log lines for the stage's log.
func (x *execution) console() zerolog.ConsoleWriter {
	return zerolog.ConsoleWriter{Out: lossy{x.log}, NoColor: true, TimeFormat: "15:04:05"}
}

// wire points the environment at the files of inputs, sources and outputs.
func (x *execution) wire(ctx context.Context) error {
	t, store := x.task, x.task.run.engine.config.Store
	results := t.run.known(t.spec)
	for param, source := range t.sources {
		x.env.Sources[param] = source.files
	}
	for _, input := range t.spec.Stage.Inputs() {
		output := results[input.From.Stage][input.From.Output]
		path, err := store.Verified(ctx, output.Digest)
		if err != nil {
			return fmt.Errorf("input %s: the bytes of %s: %w", input.Port, input.From, err)
		}
		x.env.Inputs[input.Port] = path
		if input.File {
			file := stages.File{Name: input.From.String(), Path: path, Digest: output.Digest}
			x.env.Sources[input.Port] = append(x.env.Sources[input.Port], file)
		}
	}
	for _, port := range t.spec.Stage.Outputs() {
		name := port.Name
		if !port.File {
			name += ".arrow"
		}
		x.env.Outputs[port.Name] = filepath.Join(x.workspace, "out", name)
	}
	return groupmode.MkdirAll(x.env.Resume)
}

// perform runs the stage's own code.
func (x *execution) perform(ctx context.Context) error {
	config := x.task.run.engine.config
	started := config.Clock()
	if err := x.task.spec.Stage.Run(ctx, x.env); err != nil {
		// For the log alone: those who listen hear of it when the stage ends.
		failure := zerolog.New(x.console()).With().Timestamp().Logger()
		failure.Error().Msg(err.Error())
		return x.withRemedy(err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if full(x.workspace) {
		// A command that does not look at what its writes return ends well with
		// half an output.
		return x.withRemedy(errors.New("the disk is full, so the outputs may be cut short"))
	}
	x.manifest = artifacts.Manifest{
		Format: artifacts.ManifestFormat, Key: x.task.key, Request: x.task.request,
		Outputs: map[string]artifacts.Output{}, Report: x.env.Report(), Memos: x.memos.keys(),
		Incomplete: x.env.IncompleteReason(),
		Provenance: artifacts.Provenance{
			Pipeline: config.Pipeline, Stage: x.task.spec.Name, Run: x.task.run.id,
			User: config.User, Host: config.Host,
			Started: started.UTC(), Seconds: config.Clock().Sub(started).Seconds(),
			PeakRSS: peakRSS(), Versions: x.env.Versions(config.Versions),
		},
	}
	return nil
}

// withRemedy turns a full disk that the stage met in its own directory, which is
// on the cache's disk, into the error that says what to do. A command only says
// that it failed, so the disk is asked as well.
func (x *execution) withRemedy(err error) error {
	var told *disk.SpaceError
	if errors.As(err, &told) || !errors.Is(err, syscall.ENOSPC) && !full(x.workspace) {
		return err
	}
	return &disk.SpaceError{Path: x.workspace, Remedy: "move the cache with --cache DIR", Err: err}
}

// lossy writes as much as can be written: a log that cannot be kept, say on a
// full disk, must not stop what is logged.
type lossy struct{ w io.Writer }

func (l lossy) Write(p []byte) (int, error) {
	_, _ = l.w.Write(p)
	return len(p), nil
}

// collect checks and keeps what the stage wrote.
func (x *execution) collect(ctx context.Context) (artifacts.Manifest, error) {
	if err := x.checkPlace(); err != nil {
		return x.manifest, err
	}
	for _, port := range x.task.spec.Stage.Outputs() {
		path := x.env.Outputs[port.Name]
		output, err := x.describe(port, path)
		if err != nil {
			return x.manifest, fmt.Errorf("output %s: %w", port.Name, err)
		}
		if err := x.task.run.engine.config.Store.Adopt(ctx, path, output.Digest); err != nil {
			return x.manifest, fmt.Errorf("keeping output %s: %w: %w", port.Name, ErrStore, err)
		}
		x.manifest.Outputs[port.Name] = output
	}
	return x.manifest, nil
}

// checkPlace refuses outputs that are elsewhere behind a link: keeping a file is
// a rename, which would take somebody else's away.
func (x *execution) checkPlace() error {
	for _, dir := range []string{x.workspace, filepath.Join(x.workspace, "out")} {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			return errors.New("the stage replaced the directory of its outputs; it must write each output at the path that it is given")
		}
	}
	return nil
}

// describe is what is to be known of an output. A table that the stage wrote
// through its declared output was described while it was written; anything
// else is read once, and checked.
func (x *execution) describe(port stages.Port, path string) (artifacts.Output, error) {
	if output, ok := x.env.Written(port.Name); ok {
		return output, nil
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return artifacts.Output{}, errors.New("the stage ended well without writing it")
	case err != nil:
		return artifacts.Output{}, err
	case !info.Mode().IsRegular():
		return artifacts.Output{}, fmt.Errorf("it must be a regular file, not %s", fileType(info.Mode()))
	}
	if err := unwritten(path); err != nil {
		return artifacts.Output{}, err
	}
	if !port.File {
		return inspect(port, path)
	}
	digest, err := digestFile(path)
	return artifacts.Output{Digest: digest, Bytes: info.Size()}, err
}

// inspect is of a table that the stage wrote by itself, which must be as its
// port declares it.
func inspect(port stages.Port, path string) (artifacts.Output, error) {
	output, err := table.Inspect(path)
	if err == nil && port.Schema != nil {
		err = table.Conforms(path, port.Schema)
	}
	return output, err
}

// fileType is what people call a file that is not regular.
func fileType(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

func (x *execution) close() {
	x.memos.seal()
	if x.log != nil {
		x.log.Close()
	}
	if x.env != nil {
		os.Remove(x.env.Resume) // only if the stage left nothing to resume from
	}
	if x.workspace != "" {
		x.task.run.engine.config.Store.RemoveTemp(x.workspace)
	}
}

// eventWriter turns log lines into events.
type eventWriter func(level, message string, fields map[string]any)

func (w eventWriter) Write(p []byte) (int, error) { return w.WriteLevel(zerolog.NoLevel, p) }

func (w eventWriter) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	fields, err := decodeLogLine(p)
	if err != nil {
		return 0, err
	}
	message, _ := fields[zerolog.MessageFieldName].(string)
	for _, name := range []string{zerolog.MessageFieldName, zerolog.LevelFieldName, zerolog.TimestampFieldName} {
		delete(fields, name)
	}
	w(level.String(), message, fields)
	return len(p), nil
}

var _ io.Writer = eventWriter(nil)
