package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
)

// Run runs the command in a directory of its own. Its output files are left
// where env wants them; whether to take them is up to the caller.
func (c *command) Run(ctx context.Context, env *stages.Env) error {
	p := process{command: c, env: env, inputs: map[string]string{}}
	defer makeRemovable(env.Scratch)
	if err := p.layOut(); err != nil {
		return err
	}
	if err := p.readSecrets(); err != nil {
		return err
	}
	program, err := p.program()
	if err != nil {
		return err
	}
	last := newLastWords(env.Console)
	output := newRedactor(last, p.secrets)
	err = p.start(ctx, program, output)
	output.Flush()
	return p.explain(ctx, err, last)
}

// A process is one run of a command.
type process struct {
	command *command
	env     *stages.Env
	work    string            // its working directory
	inputs  map[string]string // input → path
	secrets map[string]string // variable → value
}

// layOut fills the directories that the command sees: work with the declared
// files, inputs with private copies, and home and tmp, empty.
func (p *process) layOut() error {
	p.work = filepath.Join(p.env.Scratch, "work")
	for _, name := range []string{"work", "home", "tmp", "inputs"} {
		if err := os.MkdirAll(filepath.Join(p.env.Scratch, name), 0o777); err != nil {
			return err
		}
	}
	placed := map[string]string{} // name → path
	for _, file := range p.env.Sources[filesParam] {
		switch path, taken := placed[file.Name]; {
		case !filepath.IsLocal(file.Name):
			return fmt.Errorf("the file %s has no place in the command's directory", file.Name)
		case taken && path == file.Path:
			continue // declared twice, say by itself and by a directory
		case taken:
			return fmt.Errorf("%s and %s would both be %s in the command's directory: rename one", path, file.Path, file.Name)
		}
		placed[file.Name] = file.Path
		if err := copyFile(file.Path, filepath.Join(p.work, file.Name), fileMode); err != nil {
			return fmt.Errorf("copying the declared file %s: %w", file.Name, err)
		}
	}
	for _, in := range p.command.inputs {
		if err := p.layOutInput(in); err != nil {
			return fmt.Errorf("input %s: %w", in.name, err)
		}
	}
	return nil
}

// layOutInput gives the command a copy, so that one that writes to its input
// damages nobody else's; of declared columns it gets those and no others, since
// the key knows of no others.
func (p *process) layOutInput(in input) error {
	path := filepath.Join(p.env.Scratch, "inputs", in.name)
	if in.file != nil {
		files := p.env.Sources[inputPrefix+in.name]
		if len(files) != 1 {
			return fmt.Errorf("%v names %d files and must name one", in.file.Patterns[0].V, len(files))
		}
		path += filepath.Ext(files[0].Path)
		p.inputs[in.name] = path
		return copyFile(files[0].Path, path, inputMode)
	}
	source := p.env.Inputs[in.name]
	if in.columns != nil {
		path += ".arrow"
		p.inputs[in.name] = path
		if err := table.Project(source, path, in.columns); err != nil || len(in.schema) == 0 {
			return err
		}
		return table.Conforms(path, in.schema)
	}
	p.inputs[in.name] = path
	return copyFile(source, path, inputMode)
}

// Modes of the copies. The key knows of no modes, so neither the original's nor
// the caller's umask may make a difference.
const (
	fileMode  = 0o755 // a declared file may be a program
	inputMode = 0o644
)

func copyFile(from, to string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if err := target.Chmod(mode); err != nil {
		target.Close()
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		return err
	}
	return target.Close()
}

// makeRemovable lets the directories that a command made be removed, as those
// that Go's and other package managers protect from writing. What it cannot do
// shows when they are removed.
func makeRemovable(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(path, 0o777)
		}
		return nil
	})
}

func (p *process) readSecrets() error {
	p.secrets = map[string]string{}
	for _, name := range p.command.secrets {
		value, ok := p.lookup(name)
		if !ok {
			return fmt.Errorf("the secret %s is not set in the environment", name)
		}
		p.secrets[name] = value
	}
	return nil
}

func (p *process) lookup(name string) (string, bool) {
	if p.env.LookupEnv == nil {
		return "", false
	}
	return p.env.LookupEnv(name)
}

// program is the path of the program: the copy of a file of the project, or
// what PATH finds.
func (p *process) program() (string, error) {
	name := p.command.argv[0]
	if p.command.program != "" {
		return filepath.Join(p.work, p.command.program), nil
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	path, _ := p.lookup("PATH")
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		info, err := os.Stat(candidate)
		if err == nil && filepath.IsAbs(candidate) && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("the program %s is not in PATH; install it, or write ./%s if it is a file beside the pipeline file", name, name)
}

// arguments are the command's arguments with their placeholders replaced.
func (p *process) arguments() []string {
	var args []string
	for _, arg := range p.command.argv[1:] {
		args = append(args, expand(arg, func(kind, name string) string {
			switch kind {
			case "input":
				return p.inputs[name]
			case "output":
				return p.env.Outputs[name]
			}
			return argument(p.command.params[name])
		}))
	}
	return args
}

// environment is all that the command sees of the environment.
func (p *process) environment() ([]string, error) {
	path, _ := p.lookup("PATH")
	params, err := json.Marshal(p.command.params)
	if err != nil {
		return nil, fmt.Errorf("encoding the parameters: %w", err)
	}
	variables := map[string]string{
		"PATH":             path,
		"HOME":             filepath.Join(p.env.Scratch, "home"),
		"TMPDIR":           filepath.Join(p.env.Scratch, "tmp"),
		"LANG":             "C.UTF-8",
		"PRISMFLOW_PARAMS": string(params),
	}
	for name, input := range p.inputs {
		variables["PRISMFLOW_INPUT_"+strings.ToUpper(name)] = input
	}
	for name, output := range p.env.Outputs {
		variables["PRISMFLOW_OUTPUT_"+strings.ToUpper(name)] = output
	}
	for name, value := range p.command.env {
		if text, ok := value.(string); ok {
			variables[name] = text
		}
	}
	for name, value := range p.secrets {
		variables[name] = value
	}
	var list []string
	for _, name := range sorted(variables) {
		list = append(list, name+"="+variables[name])
	}
	return list, nil
}

// start runs the program to its end. Whatever of its process group is left
// then is killed: nothing may write to outputs that have been taken.
func (p *process) start(ctx context.Context, program string, output io.Writer) error {
	environment, err := p.environment()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, p.arguments()...)
	cmd.Args[0] = p.command.argv[0]
	cmd.Dir, cmd.Env = p.work, environment
	cmd.Stdout, cmd.Stderr = output, output
	path, _ := p.lookup("PATH")
	p.env.Version("PATH", path)
	return runGroup(ctx, cmd)
}

// explain says why the command ended badly, with the remedy where it is known.
func (p *process) explain(ctx context.Context, err error, last *lastWords) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the command was stopped: %w", ctx.Err())
	}
	name := p.command.argv[0]
	hint := ""
	if undeclared := p.undeclared(); len(undeclared) > 0 {
		hint = fmt.Sprintf("; %s beside the pipeline file is not declared in files, so the command cannot see it", strings.Join(undeclared, ", "))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s ended with %s%s; what it printed is in the stage's log%s", name, exit.ProcessState, last.text(), hint)
	}
	return fmt.Errorf("running %s: %w%s", name, err, hint)
}

// undeclared are arguments that name files of the project which the command
// does not get.
func (p *process) undeclared() []string {
	var names []string
	for _, arg := range p.command.argv[1:] {
		if filepath.IsAbs(arg) || arg == "" || slices.Contains(names, arg) {
			continue
		}
		_, inProject := os.Stat(filepath.Join(p.command.base, arg))
		_, inWork := os.Stat(filepath.Join(p.work, arg))
		if inProject == nil && inWork != nil {
			names = append(names, arg)
		}
	}
	return names
}
