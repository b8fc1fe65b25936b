package artifacts_test

import (
	"fmt"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memory"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// BenchmarkDecodeManifest is the manifest of one table of eight columns.
func BenchmarkDecodeManifest(b *testing.B) {
	m := storetest.Manifest(b, memory.New(), 1, map[string][]byte{"table": []byte("rows")})
	out := m.Outputs["table"]
	for c := range 8 {
		name := fmt.Sprintf("column_%d", c)
		out.Columns = append(out.Columns, artifacts.Column{Name: name, Type: "int64", Digest: artifacts.DigestOf([]byte(name))})
	}
	m.Outputs["table"] = out
	encoded, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(encoded)))
	for b.Loop() {
		if _, err := artifacts.DecodeManifest(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
