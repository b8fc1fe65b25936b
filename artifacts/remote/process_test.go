package remote_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// downloadTo, in the environment of a process of this test's program, makes it
// download noise to that path, slowly and never all of it.
const downloadTo = "PRISMFLOW_TEST_DOWNLOAD_TO"

// TestDownloadResumesAfterKill kills a process in the middle of a download.
func TestDownloadResumesAfterKill(t *testing.T) {
	m := remotetest.NewMemory(remote.Traits{Ranges: true})
	upload(t, newStore(t, m, smallOptions()), noise)
	if path := os.Getenv(downloadTo); path != "" {
		opts := smallOptions()
		opts.Parallel, opts.Bandwidth = 1, partBytes // a part a second, after the first
		opts.Timeout = 2 * patience
		s := newStore(t, remotetest.NewFaulty(m, remotetest.Once(remotetest.Read, 4, remotetest.Fault{Hang: true})), opts)
		_ = s.Download(ctx, artifacts.DigestOf(noise), int64(len(noise)), path, nil)
		t.Fatal("the download ended before the process was killed")
	}
	path := filepath.Join(t.TempDir(), "file")
	child := exec.Command(os.Args[0], "-test.run=^TestDownloadResumesAfterKill$")
	child.Env = append(os.Environ(), downloadTo+"="+path)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for finishedParts(path) < 2 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	had := finishedParts(path)
	if had < 2 {
		t.Fatalf("the killed process had %d parts", had)
	}
	wantReceived(t, m, path, noise, int64(len(noise)-had*partBytes))
}

// finishedParts is how many parts the record beside a download has.
func finishedParts(path string) int {
	record, err := os.ReadFile(path + ".parts")
	if err != nil {
		return 0
	}
	return max(0, bytes.Count(record, []byte("\n"))-1)
}
