package disk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// A stage's result is computed once: the second time it is looked up.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	request := artifacts.Request{Kind: "greeting", Version: 1, Params: map[string]any{"name": "Ada"}}
	for range 2 {
		if err := runOrReuse(ctx, s, request); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// result 31178a6f4d88: no result recorded
	// computed "hello, Ada"
	// reused "hello, Ada"
}

func runOrReuse(ctx context.Context, s *disk.Store, request artifacts.Request) error {
	lease, err := s.Lease(ctx, "example") // gc leaves alone what we use
	if err != nil {
		return err
	}
	defer lease.Close()
	key, err := request.Key()
	if err != nil {
		return err
	}
	unlock, err := s.Lock(ctx, key) // one of us computes it
	if err != nil {
		return err
	}
	defer unlock()

	m, err := artifacts.Lookup(ctx, s, key)
	verb := "reused"
	var miss *artifacts.Miss
	if errors.As(err, &miss) {
		fmt.Println(miss)
		verb = "computed"
		m, err = compute(ctx, s, key, request)
	}
	if err != nil {
		return err
	}
	path, err := s.Verified(ctx, m.Outputs["text"].Digest)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	fmt.Printf("%s %q\n", verb, text)
	return err
}

func compute(ctx context.Context, s *disk.Store, key artifacts.Key, request artifacts.Request) (artifacts.Manifest, error) {
	dir, err := s.TempDir("greeting-")
	if err != nil {
		return artifacts.Manifest{}, err
	}
	defer s.RemoveTemp(dir)
	text := []byte("hello, " + request.Params["name"].(string))
	path := filepath.Join(dir, "text")
	if err := os.WriteFile(path, text, 0o666); err != nil {
		return artifacts.Manifest{}, err
	}
	out := artifacts.Output{Digest: artifacts.DigestOf(text), Bytes: int64(len(text))}
	if err := s.Adopt(ctx, path, out.Digest); err != nil {
		return artifacts.Manifest{}, err
	}
	return artifacts.Publish(ctx, s, artifacts.Manifest{
		Format: artifacts.ManifestFormat, Key: key, Request: request,
		Outputs: map[string]artifacts.Output{"text": out},
	})
}
