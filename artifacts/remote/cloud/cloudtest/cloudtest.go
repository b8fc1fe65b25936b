// Package cloudtest starts servers of the object stores' protocols on loopback,
// for tests of what reads buckets: versitygw (S3), fake-gcs-server (Google Cloud
// Storage) and azurite (Azure).
//
//	for name, server := range cloudtest.Servers(t) {
//		t.Run(name, func(t *testing.T) {
//			server.Start(t)
//			server.MakeBucket(t, "team-cache")
//			driver, err := cloud.Open(server.URL("team-cache/a"), cloud.Options{LookupEnv: server.LookupEnv})
//
// Where a server is not installed, the test skips; with CI=true it fails.
// .ci/test-servers installs them.
package cloudtest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A Server is one that a test starts and stops. What it keeps lasts as long as
// the test.
type Server struct {
	Scheme  string
	Address string            // HOST:PORT
	Params  string            // of its URLs
	Env     map[string]string // that leads to it, with credentials

	program []string // what .ci/test-servers installed, and its arguments
	make    func(s *Server, bucket string) error
	process *exec.Cmd
}

// Secret is the S3 server's secret key.
const Secret = "hunter2"

// Servers are one of each, by scheme. None of them is started.
func Servers(t testing.TB) map[string]*Server {
	s3At, gsAt, azureAt := freeAddress(t), freeAddress(t), freeAddress(t)
	_, gsPort, _ := net.SplitHostPort(gsAt)
	_, azurePort, _ := net.SplitHostPort(azureAt)
	return map[string]*Server{
		"s3": {
			Scheme:  "s3",
			program: []string{"versitygw-v1.8.0/versitygw", "--port", s3At, "--quiet", "--keep-alive", "posix", t.TempDir()},
			Env:     map[string]string{"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": Secret},
			Params:  "?endpoint=http://" + s3At + "&region=us-east-1&use_path_style=true",
			Address: s3At, make: makeS3,
		},
		"gs": {
			Scheme: "gs",
			program: []string{"fake-gcs-server-v1.56.1/fake-gcs-server", "-scheme", "http", "-host", "127.0.0.1", "-port", gsPort,
				"-backend", "filesystem", "-filesystem-root", t.TempDir(), "-public-host", gsAt, "-external-url", "http://" + gsAt, "-log-level", "error"},
			Env:     map[string]string{"STORAGE_EMULATOR_HOST": gsAt},
			Address: gsAt, make: makeGCS,
		},
		"azblob": {
			Scheme: "azblob",
			program: []string{"azurite-3.35.0/node_modules/.bin/azurite-blob", "--blobHost", "127.0.0.1", "--blobPort", azurePort,
				"--location", t.TempDir(), "--silent", "--skipApiVersionCheck", "--disableTelemetry"},
			Env:     map[string]string{"AZURE_STORAGE_CONNECTION_STRING": AzureConnection(azureAt, AzureKey)},
			Address: azureAt, make: makeAzure,
		},
	}
}

// AzureKey is the published key of the account that every emulator has.
const AzureKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

// AzureConnection is the connection string of the account of an emulator.
func AzureConnection(at, key string) string {
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

// Start runs the server until the test ends or it is killed. It may be started
// again then.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	program := filepath.Join(toolsDir(t), s.program[0])
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: .ci/test-servers installs it", err)
		}
		t.Skipf("%s is not installed: .ci/test-servers does it", s.program[0])
	}
	s.process = exec.Command(program, s.program[1:]...)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY=tester", "ROOT_SECRET_KEY="+Secret)
	var said bytes.Buffer
	s.process.Stdout, s.process.Stderr = &said, &said
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	for range 2400 { // two minutes: some start slowly, and machines may be loaded
		if c, err := net.Dial("tcp", s.Address); err == nil {
			c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Kill()
	t.Fatalf("%s does not answer:\n%s", s.program[0], &said)
}

// Kill ends the server at once.
func (s *Server) Kill() {
	if s.process != nil {
		_ = s.process.Process.Kill() // it may have ended
		_ = s.process.Wait()         // killed
		s.process = nil
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

// LookupEnv is the environment that leads to the server.
func (s *Server) LookupEnv(name string) (string, bool) {
	value, ok := s.Env[name]
	return value, ok
}

// URL is that of a bucket, or of something in one.
func (s *Server) URL(path string) string { return s.Scheme + "://" + path + s.Params }

// MakeBucket makes a bucket, or a container.
func (s *Server) MakeBucket(t testing.TB, name string) {
	t.Helper()
	if err := s.make(s, name); err != nil {
		t.Fatal(err)
	}
}

func makeS3(s *Server, bucket string) error {
	_, err := s.S3().CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &bucket})
	return err
}

// S3 is a client of the S3 server.
func (s *Server) S3() *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://" + s.Address), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.Env["AWS_ACCESS_KEY_ID"], s.Env["AWS_SECRET_ACCESS_KEY"], ""),
	})
}

func makeGCS(s *Server, bucket string) error {
	body := strings.NewReader(`{"name":"` + bucket + `"}`)
	response, err := http.Post("http://"+s.Address+"/storage/v1/b?project=test", "application/json", body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func makeAzure(s *Server, bucket string) error {
	client, err := container.NewClientFromConnectionString(s.Env["AZURE_STORAGE_CONNECTION_STRING"], bucket, nil)
	if err == nil {
		_, err = client.Create(context.Background(), nil)
	}
	return err
}
