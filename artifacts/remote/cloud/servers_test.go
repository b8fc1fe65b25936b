package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/prismflow/prismflow/artifacts/remote"
)

// A place is a real server of a provider's protocol, on loopback, which a test
// starts and stops.
type place struct {
	scheme  string
	program []string          // what .ci/test-servers installed
	env     map[string]string // that leads to it
	params  string            // of its URLs
	health  string            // what is asked to see whether it answers
	make    func(t testing.TB, p *place, bucket string)
	process *exec.Cmd
}

// secret is a part of each credential in these tests, so that one finds it.
const secret = "hunter2"

// places are the servers, none of them started.
func places(t testing.TB) map[string]*place {
	dir := t.TempDir()
	s3At, gsAt, azureAt := freeAddress(t), freeAddress(t), freeAddress(t)
	_, gsPort, _ := net.SplitHostPort(gsAt)
	_, azurePort, _ := net.SplitHostPort(azureAt)
	return map[string]*place{
		"s3": {
			scheme:  "s3",
			program: []string{"versitygw-v1.8.0/versitygw", "--port", s3At, "--quiet", "--keep-alive", "posix", dir},
			env:     map[string]string{"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": secret},
			params:  "?endpoint=http://" + s3At + "&region=us-east-1&use_path_style=true",
			health:  s3At, make: makeS3,
		},
		"gs": {
			scheme: "gs",
			program: []string{"fake-gcs-server-v1.56.1/fake-gcs-server", "-scheme", "http", "-host", "127.0.0.1", "-port", gsPort,
				"-backend", "memory", "-public-host", gsAt, "-external-url", "http://" + gsAt, "-log-level", "error"},
			env:    map[string]string{"STORAGE_EMULATOR_HOST": gsAt},
			health: gsAt, make: makeGCS,
		},
		"azblob": {
			scheme: "azblob",
			program: []string{"azurite-3.35.0/node_modules/.bin/azurite-blob", "--blobHost", "127.0.0.1", "--blobPort", azurePort,
				"--location", dir, "--silent", "--skipApiVersionCheck", "--disableTelemetry"},
			env:    map[string]string{"AZURE_STORAGE_CONNECTION_STRING": azureConnection(azureAt, azureKey)},
			health: azureAt, make: makeAzure,
		},
	}
}

// azureKey is the published key of the account that every emulator has.
const azureKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

func azureConnection(at, key string) string {
	return "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + key + ";BlobEndpoint=http://" + at + "/devstoreaccount1;"
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// start runs the server until the test ends or it is killed. Without its program
// the test skips, but not in CI.
func (p *place) start(t testing.TB) {
	t.Helper()
	program := filepath.Join(toolsDir(t), p.program[0])
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: .ci/test-servers installs it", err)
		}
		t.Skipf("%s is not installed: .ci/test-servers does it", p.program[0])
	}
	p.process = exec.Command(program, p.program[1:]...)
	p.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY=tester", "ROOT_SECRET_KEY="+secret)
	var said bytes.Buffer
	p.process.Stdout, p.process.Stderr = &said, &said
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	for range 600 {
		if c, err := net.Dial("tcp", p.health); err == nil {
			c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.kill()
	t.Fatalf("%s does not answer:\n%s", p.program[0], &said)
}

func (p *place) kill() {
	if p.process != nil {
		_ = p.process.Process.Kill() // it may have ended
		_ = p.process.Wait()         // killed
		p.process = nil
	}
}

func toolsDir(t testing.TB) string {
	if dir := os.Getenv("PRISMFLOW_TOOLS"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no folder for tools: %v", err)
	}
	return filepath.Join(cache, "prismflow-tools")
}

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func (p *place) options() Options { return Options{LookupEnv: lookupIn(p.env)} }

func (p *place) url(path string) string { return p.scheme + "://" + path + p.params }

func (p *place) open(t testing.TB, path string) remote.Driver {
	t.Helper()
	d, err := Open(p.url(path), p.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// eachPlace runs a test against every server, with a bucket called team-cache.
func eachPlace(t *testing.T, test func(t *testing.T, p *place)) {
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) {
			p.start(t)
			p.make(t, p, "team-cache")
			test(t, p)
		})
	}
}

func makeS3(t testing.TB, p *place, bucket string) {
	t.Helper()
	if _, err := s3Client(t, p).CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
}

func s3Client(t testing.TB, p *place) *s3.Client {
	t.Helper()
	bucket, err := p.open(t, "any-bucket").(*driver).dialled(context.Background())
	var client *s3.Client
	if err != nil || !bucket.As(&client) {
		t.Fatalf("no client: %v", err)
	}
	return client
}

func makeGCS(t testing.TB, p *place, bucket string) {
	t.Helper()
	body := strings.NewReader(`{"name":"` + bucket + `"}`)
	response, err := http.Post("http://"+p.health+"/storage/v1/b?project=test", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}

func makeAzure(t testing.TB, p *place, bucket string) {
	t.Helper()
	client, err := container.NewClientFromConnectionString(p.env["AZURE_STORAGE_CONNECTION_STRING"], bucket, nil)
	if err == nil {
		_, err = client.Create(context.Background(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readAll is an object's bytes.
func readAll(d remote.Driver, name string) ([]byte, error) {
	r, err := d.Read(context.Background(), name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// quietError checks that an error has no credential in it, whichever way it is
// looked at.
func quietError(t testing.TB, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
			if strings.Contains(text, secret) || strings.Contains(text, azureKey[:20]) {
				t.Errorf("a credential is in the error: %s", text)
			}
		}
	}
}
