package stages

import (
	"fmt"
	"iter"
	"os"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
)

// In is an input table, of which the stage reads the columns of Row.
type In[Row any] struct{ path string }

// FromFile is an input that reads the Arrow file at path: for tests, and for
// using a stage without a pipeline.
func FromFile[Row any](path string) In[Row] { return In[Row]{path} }

// Present says whether the input is there. Only an optional one may not be.
func (in In[Row]) Present() bool { return in.path != "" }

// Rows streams the rows in order.
func (in In[Row]) Rows() iter.Seq2[Row, error] { return table.Rows[Row](in.path) }

// RowsOf streams the rows in order with these columns alone: the fields of the
// others are zero, and their bytes are not read.
func (in In[Row]) RowsOf(columns ...string) iter.Seq2[Row, error] {
	return table.Rows[Row](in.path, columns...)
}

// All reads every row.
func (in In[Row]) All() ([]Row, error) { return table.ReadAll[Row](in.path) }

// Out is an output table whose columns are the fields of Row.
type Out[Row any] struct {
	path string
	done func(artifacts.Output)
}

// ToFile is an output that writes the Arrow file at path: for tests, and for
// using a stage without a pipeline.
func ToFile[Row any](path string) Out[Row] { return Out[Row]{path: path} }

// Create starts the output. The stage must Close what it got, once, after its
// last row; a stage that fails need not.
func (o Out[Row]) Create(opts ...table.Option) (*Writer[Row], error) {
	w, err := table.Create[Row](o.path, opts...)
	if err != nil {
		return nil, err
	}
	return &Writer[Row]{Writer: w, done: o.done}, nil
}

// WriteAll writes the whole output at once.
func (o Out[Row]) WriteAll(rows []Row, opts ...table.Option) error {
	w, err := o.Create(opts...)
	if err != nil {
		return err
	}
	if err := w.AppendAll(rows); err != nil {
		w.Abort()
		return err
	}
	return w.Close()
}

// A Writer writes an output table.
type Writer[Row any] struct {
	*table.Writer[Row]
	done func(artifacts.Output)
}

// Close ends the table, and so the output.
func (w *Writer[Row]) Close() error {
	output, err := w.Writer.Close()
	if err == nil && w.done != nil {
		w.done(output)
	}
	return err
}

// OutFile is an output that is a plain file.
type OutFile struct{ path string }

// ToPlainFile is an output at path, for tests.
func ToPlainFile(path string) OutFile { return OutFile{path} }

// Create creates the file. The stage closes it.
func (o OutFile) Create() (*os.File, error) { return os.Create(o.path) }

// Source is a parameter that names files: a path, a glob, a URL, a list of
// them, or "<stage>.<output>" for a plain file that another stage makes. The
// stage sees their content and, in messages, their names.
type Source struct {
	files []File
	given bool
}

// SourceFiles is a source of the files at paths, for tests.
func SourceFiles(paths ...string) Source {
	files := make([]File, len(paths))
	for i, path := range paths {
		files[i] = File{Name: path, Path: path}
	}
	return Source{files: files}
}

// SourceOf is a source of files with what an engine knows of them, for tests.
func SourceOf(files ...File) Source { return Source{files: files} }

// Given says whether the pipeline names the source, which Validate may ask
// before there are files.
func (s Source) Given() bool { return s.given || len(s.files) > 0 }

// Files are the files in the order in which they were named, those of a glob
// sorted by name.
func (s Source) Files() []File { return s.files }

// A File is one file of a source.
type File struct {
	Name   string // as a person would name it: a path as given, a URL, or "<stage>.<output>"
	Path   string // where its bytes are
	Digest artifacts.Digest
}

func (f File) String() string { return fmt.Sprintf("%s (%s)", f.Name, f.Digest.Short()) }

// Setting is a parameter that cannot change the result, such as a device or a
// number of workers. It is typed apart so that no key ever holds one.
type Setting[T any] struct{ Value T }

// The declaration machinery finds ports among a struct's fields by these.
type (
	inputField interface {
		attachInput(path string)
		inputSchema() table.Schema
	}
	outputField interface {
		attachOutput(path string, done func(artifacts.Output))
		outputSchema() (schema table.Schema, file bool)
	}
	sourceField interface {
		giveSource()
		attachSource([]File)
	}
	settingField interface{ setting() any } // a pointer to the value
)

func (in *In[Row]) attachInput(path string)   { in.path = path }
func (in *In[Row]) inputSchema() table.Schema { return table.SchemaOf[Row]() }

func (o *Out[Row]) attachOutput(path string, done func(artifacts.Output)) {
	o.path, o.done = path, done
}
func (o *Out[Row]) outputSchema() (table.Schema, bool) { return table.SchemaOf[Row](), false }

func (o *OutFile) attachOutput(path string, _ func(artifacts.Output)) { o.path = path }
func (o *OutFile) outputSchema() (table.Schema, bool)                 { return nil, true }

func (s *Source) giveSource()               { s.given = true }
func (s *Source) attachSource(files []File) { s.files = files }

func (s *Setting[T]) setting() any { return &s.Value }
