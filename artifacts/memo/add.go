package memo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// IsList says whether a request is that of a list of segments.
func IsList(r artifacts.Request) bool { return strings.HasPrefix(r.Kind, listKind) }

// Merge adds the segments of another list of the same scope, such as one that
// somebody shares, to the list of the store. Their blobs must be in the store,
// and a lease must be held on it. The values of the other list stand before
// those of the list of the store. Segments of which little stands then are merged.
func Merge(ctx context.Context, store Store, other artifacts.Manifest) error {
	if !IsList(other.Request) {
		return fmt.Errorf("adding rows: the result %s is no list of rows", other.Key.Short())
	}
	unlock, err := store.Lock(ctx, other.Key)
	if err != nil {
		return fmt.Errorf("adding rows to the row memo %s: %w", other.Key.Short(), err)
	}
	defer unlock()
	if err := add(ctx, store, other); err != nil {
		return fmt.Errorf("adding rows to the row memo %s: %w", other.Key.Short(), err)
	}
	return nil
}

// add is Merge for the holder of the turn at the list.
func add(ctx context.Context, store Store, other artifacts.Manifest) error {
	segments, err := list(ctx, store, other.Key)
	var miss *artifacts.Miss
	if err != nil && !errors.As(err, &miss) { // a list that cannot be used is replaced
		return err
	}
	news := 0
	for _, s := range segmentsOf(other) {
		if !slices.ContainsFunc(segments, func(have segment) bool { return have.digest == s.digest }) {
			segments = append(segments, s)
			news++
		}
	}
	if news == 0 {
		return nil
	}
	segments = present(ctx, store, segments)
	m := &Memo{
		store: store, scope: other.Request, key: other.Key, index: newIndex(),
		opts: Options{Provenance: other.Provenance, SegmentBytes: DefaultSegmentBytes, Warn: func(string) {}},
	}
	defer m.release()
	for _, s := range segments {
		if err := m.loadSegment(ctx, s); err != nil {
			return err
		}
	}
	if merged, err := m.merge(ctx, segments); err == nil {
		segments = merged
	} else if ctx.Err() != nil {
		return ctx.Err()
	} // else the list is longer than it has to be
	return m.publish(ctx, segments)
}

// present are the segments that are in the store and right: a list may name no other.
func present(ctx context.Context, store Store, segments []segment) []segment {
	return slices.DeleteFunc(segments, func(s segment) bool {
		_, err := store.Verified(ctx, s.digest)
		return errors.Is(err, artifacts.ErrNotFound)
	})
}

// segmentsOf are the segments that the manifest of a list names, oldest first.
func segmentsOf(manifest artifacts.Manifest) []segment {
	var segments []segment
	for _, name := range slices.Sorted(maps.Keys(manifest.Outputs)) {
		output := manifest.Outputs[name]
		segments = append(segments, segment{output.Digest, output.Bytes, output.Rows})
	}
	return segments
}

// Segments are the outputs of a list, oldest first.
func Segments(manifest artifacts.Manifest) []artifacts.Output {
	var outputs []artifacts.Output
	for _, s := range segmentsOf(manifest) {
		outputs = append(outputs, artifacts.Output{Digest: s.digest, Bytes: s.bytes, Rows: s.rows})
	}
	return outputs
}

// Relist is a list with other segments, oldest first.
func Relist(manifest artifacts.Manifest, segments []artifacts.Output) artifacts.Manifest {
	manifest.Outputs = map[string]artifacts.Output{}
	for i, s := range segments {
		manifest.Outputs[segmentName(i)] = s
	}
	return manifest
}
