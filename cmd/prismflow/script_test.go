package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/tables"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestMain lets this test binary be the program itself, for scripts and for
// tests that kill it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"prismflow": main})
}

// TestScripts runs the program as people do. The scripts of the cache's
// semantics count executions: each command of their pipelines appends a line to
// the file $COUNTS, and "ran" says whose lines there are.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"HOME": filepath.Join(env.WorkDir, ".home"), "USER": "tester",
				"PRISMFLOW_CACHE": filepath.Join(env.WorkDir, ".cache"),
				"COUNTS":          filepath.Join(env.WorkDir, ".counts"),
				"DATA":            testdata(),
				"XDG_CACHE_HOME":  userCache(),
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ran": scriptRan, "exits": scriptExits, "tamper": scriptTamper, "tamper-blob": scriptTamperBlob,
			"table": scriptTable, "replace": scriptReplace, "wait-for": scriptWaitFor, "scrub": scriptScrub,
			"executed": scriptExecuted, "retitle": scriptRetitle, "pictures": scriptPictures,
			"evaluations": scriptEvaluations, "damage-last-record": scriptDamageRecord, "strip-last-record": scriptStripRecord,
		},
		Condition:     scriptCondition,
		UpdateScripts: *update,
	})
}

// scriptCondition knows what some machines lack.
func scriptCondition(condition string) (bool, error) {
	switch condition {
	case "testdata":
		return testdata() != "", nil
	case "libtorch":
		_, err := gotorch.Find(context.Background(), torchtest.Options())
		// Where CI has it, it must be there: the script fails and says why.
		return err == nil || os.Getenv("CI") == "true", nil
	}
	return false, fmt.Errorf("unknown condition %s", condition)
}

// userCache is this user's cache directory, where the library that connects to
// libtorch is compiled once and not for each script.
func userCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return os.TempDir()
	}
	return dir
}

// testdata is the directory of real data: $PRISMFLOW_TESTDATA, or shared/data
// beside the module; empty where there is none.
func testdata() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	for _, candidate := range []string{os.Getenv("PRISMFLOW_TESTDATA"), filepath.Join(dir, "..", "shared", "data")} {
		if info, err := os.Stat(candidate); candidate != "" && err == nil && info.IsDir() {
			return candidate
		}
	}
	return ""
}

// scriptRan checks which stages have run since it was last asked, and how
// often: "ran count count sort". Without names, none.
func scriptRan(ts *testscript.TestScript, neg bool, want []string) {
	if neg {
		ts.Fatalf("! ran is not supported: name what ran")
	}
	path := ts.Getenv("COUNTS")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		ts.Fatalf("%v", err)
	}
	got := strings.Fields(string(data))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("ran [%s], want [%s]", strings.Join(got, " "), strings.Join(want, " "))
	}
	os.Remove(path)
}

// scriptExits checks a command's exit code: "exits 2 prismflow run".
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptTamper changes one byte in the middle of a file and leaves its size,
// mode and modification time as they were.
func scriptTamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper FILE")
	}
	ts.Check(tamper(ts.MkAbs(args[0])))
}

func tamper(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	if err := os.Chmod(path, 0o666); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, info.Mode()), os.Chtimes(path, time.Time{}, info.ModTime()))
}

// scriptTamperBlob tampers with the blob in the cache that has a file's content.
func scriptTamperBlob(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper-blob FILE")
	}
	sum := sha256.Sum256([]byte(ts.ReadFile(args[0])))
	name := hex.EncodeToString(sum[:])
	ts.Check(tamper(filepath.Join(ts.Getenv("PRISMFLOW_CACHE"), "cas", name[:2], name)))
}

// A scriptRow is a row of the tables that scripts make.
type scriptRow struct {
	Word  string `arrow:"word"`
	Count int64  `arrow:"count"`
}

// scriptTable writes an Arrow file of words and counts from a CSV file.
func scriptTable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: table CSV ARROW")
	}
	records, err := csv.NewReader(strings.NewReader(ts.ReadFile(args[0]))).ReadAll()
	ts.Check(err)
	w, err := table.Create[scriptRow](ts.MkAbs(args[1]))
	ts.Check(err)
	for _, record := range records {
		n, err := strconv.ParseInt(record[1], 10, 64)
		ts.Check(err)
		ts.Check(w.Append(scriptRow{record[0], n}))
	}
	_, err = w.Close()
	ts.Check(err)
}

// scriptReplace replaces text in a file: "replace FILE OLD NEW".
func scriptReplace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	before := ts.ReadFile(args[0])
	after := strings.ReplaceAll(before, args[1], args[2])
	if before == after {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o666))
}

// scriptWaitFor waits until a file is there: a command of a running pipeline
// made it.
func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-for FILE")
	}
	waitForFile(ts.MkAbs(args[0]))
}

func waitForFile(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// scriptScrub rewrites a file without what differs from run to run: "scrub FILE".
func scriptScrub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: scrub FILE")
	}
	text := []byte(ts.ReadFile(args[0]))
	text = bytes.ReplaceAll(text, []byte(ts.Getenv("WORK")), []byte("$WORK"))
	for _, volatile := range volatiles {
		text = volatile.pattern.ReplaceAll(text, []byte(volatile.with))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o666))
}

// scriptPictures writes a table of pictures, of which some are none and some
// items have ids that are no file names: "pictures images.arrow".
func scriptPictures(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pictures FILE.arrow")
	}
	rows := []tables.Image{{Item: "without", Error: "404"}, {Item: "page", Bytes: []byte("<html>no</html>")}}
	for _, p := range []struct{ item, file string }{
		{"B00001", "palette8.png"}, {"b00001", "grey8.png"}, {"../../secret", "lossy.webp"}, {"CON", "global.gif"}, {".hidden", "420.jpg"},
	} {
		data, err := os.ReadFile(filepath.Join(pictureSamples, p.file))
		ts.Check(err)
		rows = append(rows, tables.Image{Item: p.item, Bytes: data})
	}
	w, err := table.Create[tables.Image](ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(w.AppendAll(rows))
	_, err = w.Close()
	ts.Check(err)
}
