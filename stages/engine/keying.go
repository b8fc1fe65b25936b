package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages"
)

// request completes what a stage's settings ask with the content that it would
// read: the digests of its inputs' columns and of its files.
func request(spec stages.Spec, results map[string]map[string]artifacts.Output, sources map[string]resolvedSource) (artifacts.Request, error) {
	r := spec.Stage.Request()
	for _, input := range spec.Stage.Inputs() {
		output, ok := results[input.From.Stage][input.From.Output]
		if !ok {
			return r, fmt.Errorf("input %s: stage %s has made no output %s", input.Port, input.From.Stage, input.From.Output)
		}
		digests, err := columnDigests(input, output)
		if err != nil {
			return r, err
		}
		if r.Inputs == nil {
			r.Inputs = map[string]map[string]artifacts.Digest{}
		}
		r.Inputs[input.Port] = digests
	}
	for _, source := range spec.Stage.Sources() {
		if len(source.Patterns) == 0 {
			continue
		}
		if r.Files == nil {
			r.Files = map[string][]artifacts.FileDigest{}
		}
		for _, file := range sources[source.Param].files {
			fd := artifacts.FileDigest{Digest: file.Digest}
			switch source.Names {
			case stages.NamesKept, stages.NamesBelow:
				fd.Name = file.Name
			case stages.NamesExtension:
				fd.Name = filepath.Ext(file.Path)
			}
			r.Files[source.Param] = append(r.Files[source.Param], fd)
		}
	}
	return r, nil
}

// columnDigests are the digests that stand for what an input reads of an
// output: of the columns that it names, of all columns and, under no name, of
// their order when it names none, or of the bytes of a plain file.
func columnDigests(input stages.Input, output artifacts.Output) (map[string]artifacts.Digest, error) {
	if input.File || !output.IsTable() {
		return map[string]artifacts.Digest{"": output.Digest}, nil
	}
	have := make(map[string]artifacts.Digest, len(output.Columns))
	var names []string
	for _, column := range output.Columns {
		have[column.Name] = column.Digest
		names = append(names, column.Name)
	}
	if input.Columns == nil {
		order, err := json.Marshal(names)
		have[""] = artifacts.DigestOf(order)
		return have, err
	}
	digests := make(map[string]artifacts.Digest, len(input.Columns))
	for _, name := range input.Columns {
		digest, ok := have[name]
		if !ok {
			return nil, fmt.Errorf("input %s reads the column %s, and %s has only %s%s",
				input.Port, name, input.From, strings.Join(names, ", "), stages.Suggest(name, names))
		}
		digests[name] = digest
	}
	return digests, nil
}

// resolve finds the files of all of a stage's sources.
func (s *sourceResolver) resolve(ctx context.Context, spec stages.Spec, progress progress) (map[string]resolvedSource, error) {
	resolved := map[string]resolvedSource{}
	for _, source := range spec.Stage.Sources() {
		r, err := s.source(ctx, source, progress)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source.Param, err)
		}
		resolved[source.Param] = r
	}
	return resolved, nil
}
