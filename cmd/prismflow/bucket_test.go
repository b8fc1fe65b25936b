package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts/remote/cloud"
	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// TestSourcesInBuckets: a file in a bucket is fetched once, with credentials that
// nothing of the run repeats.
func TestSourcesInBuckets(t *testing.T) {
	for name, server := range cloudtest.Servers(t) {
		t.Run(name, func(t *testing.T) {
			server.Start(t)
			server.MakeBucket(t, "our-data")
			const rows = "user,item,timestamp\nu1,a,1\nu1,b,2\nu2,a,3\n"
			bucket, err := cloud.Open(server.URL("our-data"), cloud.Options{LookupEnv: server.LookupEnv})
			if err == nil {
				err = bucket.Write(context.Background(), "events.csv", remotetest.Bytes([]byte(rows)), true)
			}
			if err != nil {
				t.Fatal(err)
			}
			for variable, value := range server.Env {
				t.Setenv(variable, value)
			}
			p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
			writeBucketPipeline(t, p.dir, server.URL("our-data/events.csv"))
			if output, _ := p.run("status", "p.toml"); !strings.Contains(output, "not downloaded yet") {
				t.Errorf("status:\n%s", output)
			}
			output := p.must(t, "run", "p.toml", "--json") + p.must(t, "show", "p.toml", "events.interactions")
			if !strings.Contains(output, "u2") || strings.Contains(output, cloudtest.Secret) || strings.Contains(output, cloudtest.AzureKey) {
				t.Errorf("run:\n%s", output)
			}
			server.Kill()
			if output := p.must(t, "run", "p.toml", "--offline"); !strings.Contains(output, "cached") {
				t.Errorf("offline:\n%s", output)
			}
		})
	}
}

func writeBucketPipeline(t *testing.T, dir, url string) {
	t.Helper()
	text := fmt.Sprintf(`
name = "p"

[stages.file]
kind = "fetch"
url = %q

[stages.events]
kind = "tabular.interactions"
source = "file.file"
user = "user"
item = "item"
timestamp = "timestamp"
`, url)
	if err := os.WriteFile(filepath.Join(dir, "p.toml"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
