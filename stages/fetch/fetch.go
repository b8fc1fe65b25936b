package fetch

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/prismflow/prismflow/stages"
)

// Fetch is the stage kind fetch.
type Fetch struct {
	URL      stages.Source  `stage:"url" doc:"the file: http://…, https://…, s3://…, gs://…, azblob://…, file://… or a path"`
	Member   string         `stage:"member" default:"" doc:"the file in that zip or tar archive: its path, or the end of it; empty: the file itself"`
	MaxBytes int64          `stage:"max_bytes" default:"68719476736" min:"1" unit:"bytes" doc:"how large the output may be"`
	File     stages.OutFile `stage:"file" doc:"the file, byte for byte"`
}

// Run writes the file.
func (s *Fetch) Run(ctx context.Context, env *stages.Env) error {
	files := s.URL.Files()
	if len(files) != 1 {
		return fmt.Errorf("url names %d files, and one becomes the output", len(files))
	}
	from, err := os.Open(files[0].Path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.File.Create()
	if err != nil {
		return err
	}
	defer to.Close()
	out := &output{to: to, ctx: ctx, env: env, most: s.MaxBytes}
	if s.Member == "" {
		err = out.copyFile(from)
	} else {
		err = unpack(from, s.Member, out)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", files[0].Name, err)
	}
	env.Count("bytes", float64(out.written))
	return to.Close()
}

// An output takes the bytes of the file, of which there may be so many.
type output struct {
	to      io.Writer
	ctx     context.Context
	env     *stages.Env
	most    int64
	total   int64 // as far as it is known
	written int64
}

func (o *output) copyFile(from *os.File) error {
	if info, err := from.Stat(); err == nil {
		o.total = info.Size()
	}
	return o.copy(from)
}

// copy writes what from holds.
func (o *output) copy(from io.Reader) error {
	_, err := io.CopyBuffer(o, struct{ io.Reader }{from}, make([]byte, 1<<20))
	return err
}

func (o *output) Write(p []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	if o.written+int64(len(p)) > o.most {
		return 0, fmt.Errorf("it has more than %d bytes; max_bytes allows more", o.most)
	}
	n, err := o.to.Write(p)
	o.written += int64(n)
	o.env.Progress(o.written, o.total, "bytes")
	return n, err
}
