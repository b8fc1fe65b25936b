package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/prismflow/prismflow/artifacts"
)

func TestWhatIsRefused(t *testing.T) {
	r := newRig(t, Options{MaxBlob: 1000})
	small, large := []byte("small"), random(1001, 1)
	r.want(r.ask("PUT", cas(small), small), 201)
	for _, tt := range []struct {
		method, path string
		body         []byte
		header       [2]string
		status       int
		says         string
	}{
		{"PUT", cas(large), large, [2]string{}, 413, "at most 1000"},
		{"PUT", cas(small), small, [2]string{"Content-Range", "bytes 0-4/10"}, 400, "Content-Range"},
		{"PUT", cas(small), small, [2]string{"If-Match", "*"}, 400, "If-Match"},
		{"PUT", cas(small), small, [2]string{"If-None-Match", `"x"`}, 400, "If-None-Match: *"},
		{"PUT", cas(small), small, [2]string{"Content-Encoding", "gzip"}, 415, "zstd"},
		{"PUT", cas(small), small, [2]string{"Content-Encoding", "zstd"}, 400, "inflating"},
		{"PUT", cas(small), []byte("smell"), [2]string{}, 400, "refused: 5 bytes of digest"},
		{"PUT", cas(small), []byte("smal"), [2]string{}, 400, "refused"},
		{"PUT", "/healthz", small, [2]string{}, 405, "GET, HEAD"},
		{"PUT", "/metrics", small, [2]string{}, 405, "GET, HEAD"},
		{"DELETE", cas(small), nil, [2]string{}, 405, "GET, HEAD, PUT"},
		{"OPTIONS", cas(small), nil, [2]string{}, 405, "GET, HEAD, PUT"},
		{"POST", ac(1), small, [2]string{}, 405, "GET, HEAD, PUT"},
		{"PROPFIND", ac(1), small, [2]string{}, 405, "GET, HEAD, PUT"},
		{"GET", "/", nil, [2]string{}, 404, "/cas/<sha256>"},
		{"GET", "/cas/", nil, [2]string{}, 400, "64"},
		{"GET", "/cas", nil, [2]string{}, 404, ""},
		{"GET", strings.ToUpper(cas(small)), nil, [2]string{}, 404, ""},
		{"GET", "/cas/" + strings.ToUpper(cas(small)[5:]), nil, [2]string{}, 400, ""},
		{"GET", cas(small) + "/", nil, [2]string{}, 400, ""},
		{"GET", "/x" + cas(small), nil, [2]string{}, 404, ""},
		{"GET", "/" + cas(small), nil, [2]string{}, 404, ""},
		{"GET", "/cas/../" + cas(small), nil, [2]string{}, 400, ""},
		{"GET", "/cas/..%2f..%2fetc%2fpasswd", nil, [2]string{}, 404, ""},
		{"GET", "/ac/" + strings.Repeat("g", 64), nil, [2]string{}, 400, ""},
		{"GET", "/ac/" + strings.Repeat("a", 40), nil, [2]string{}, 400, ""},
	} {
		got := r.ask(tt.method, tt.path, tt.body, tt.header[0], tt.header[1])
		if got.status != tt.status || !strings.Contains(string(got.body), tt.says) {
			t.Errorf("%s %s: %d %s, want %d and %q", tt.method, tt.path, got.status, got.body, tt.status, tt.says)
		}
		if allow := got.header.Get("Allow"); (allow != "") != (tt.status == 405) {
			t.Errorf("%s %s: %d with Allow %q", tt.method, tt.path, got.status, allow)
		}
		if strings.Contains(string(got.body), r.store.Dir()) {
			t.Errorf("%s %s tells a path of the server: %s", tt.method, tt.path, got.body)
		}
	}
	r.want(r.ask("GET", cas(small), nil), 200, "small")
	if report := r.verify(); report.Blobs != 1 || report.Actions != 0 {
		t.Errorf("the store has %+v", report)
	}
}

func TestChunkedBody(t *testing.T) {
	r := newRig(t, Options{MaxBlob: 1 << 20})
	for _, tt := range []struct{ size, status int }{{1 << 20, 201}, {1<<20 + 1, 413}} {
		content := random(tt.size, 3)
		req, err := http.NewRequest("PUT", r.http.URL+cas(content), io.MultiReader(bytes.NewReader(content)))
		must(t, err)
		resp, err := r.http.Client().Do(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%d bytes in chunks: %d, want %d", tt.size, resp.StatusCode, tt.status)
		}
	}
	r.verify()
}

// What can be decided without the body is, so that it need not be sent.
func TestExpectContinue(t *testing.T) {
	path, reader, writer := tokenFile(t)
	tokens, err := OpenTokens(path, func(string) {})
	must(t, err)
	r := newRig(t, Options{Tokens: tokens, MaxBlob: 1000})
	here, absent := []byte("here"), []byte("absent")
	r.token = writer
	r.want(r.ask("PUT", cas(here), here), 201)
	for _, tt := range []struct {
		name, path, token string
		length            int
		headers           string
		want              string
	}{
		{"stranger", cas(absent), "x", 6, "", "401"},
		{"reader", cas(absent), reader, 6, "", "403"},
		{"too large", cas(absent), writer, 1001, "", "413"},
		{"here already", cas(here), writer, 4, "If-None-Match: *\r\n", "412"},
		{"strange coding", cas(here), writer, 4, "Content-Encoding: br\r\n", "415"},
		{"welcome", cas(absent), writer, 6, "If-None-Match: *\r\n", "100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", r.http.Listener.Addr().String())
			must(t, err)
			defer conn.Close()
			must(t, conn.SetDeadline(time.Now().Add(patience)))
			fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n%s\r\n", tt.path, tt.token, tt.length, tt.headers)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+tt.want) {
				t.Errorf("%q, %v, want %s", line, err, tt.want)
			}
		})
	}
}

func deflate(t testing.TB, content []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, opts...)
	must(t, err)
	return e.EncodeAll(content, nil)
}

func inflate(t testing.TB, deflated []byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil)
	must(t, err)
	defer d.Close()
	content, err := d.DecodeAll(deflated, nil)
	must(t, err)
	return content
}

func TestZstd(t *testing.T) {
	r := newRig(t, Options{MaxBlob: 8 << 20})
	text := bytes.Repeat([]byte("what is written over and over again\n"), 100_000)
	put := r.ask("PUT", cas(text), deflate(t, text), "Content-Encoding", "zstd")
	r.want(put, 201)
	if got := put.header.Get("Accept-Encoding"); got != "zstd" {
		t.Errorf("the answer announces %q", got)
	}
	plain := r.ask("GET", cas(text), nil)
	r.want(plain, 200, string(text))
	deflated := r.ask("GET", cas(text), nil, "Accept-Encoding", "gzip, zstd;q=0.9")
	if encoding := deflated.header.Get("Content-Encoding"); encoding != "zstd" || len(deflated.body) > len(text)/10 {
		t.Errorf("encoding %q, %d bytes of %d", encoding, len(deflated.body), len(text))
	}
	if !bytes.Equal(inflate(t, deflated.body), text) {
		t.Error("what is inflated is not what was put")
	}
	if plain.header.Get("ETag") == deflated.header.Get("ETag") {
		t.Error("other bytes have the same tag")
	}

	noise := random(100_000, 1)
	r.want(r.ask("PUT", cas(noise), deflate(t, noise), "Content-Encoding", "zstd"), 201)
	for name, header := range map[string][]string{
		"does not gain": {"Accept-Encoding", "zstd"},
		"not accepted":  {"Accept-Encoding", "zstd;q=0, gzip"},
	} {
		got := r.ask("GET", cas(noise), nil, header...)
		r.want(got, 200, string(noise))
		if encoding := got.header.Get("Content-Encoding"); encoding != "" {
			t.Errorf("%s: encoding %q", name, encoding)
		}
	}
	r.want(r.ask("GET", cas(text), nil, "Accept-Encoding", "zstd", "Range", "bytes=0-3"), 206, "what")
	r.want(r.ask("PUT", ac(1), deflate(t, text), "Content-Encoding", "zstd"), 201)
	r.want(r.ask("GET", ac(1), nil), 200, string(text))
	r.verify()
}

func TestHostileZstd(t *testing.T) {
	r := newRig(t, Options{MaxBlob: 1 << 20})
	bomb := make([]byte, 64<<20) // of 2 KiB on the wire
	text := []byte(strings.Repeat("text ", 1000))
	deflated := deflate(t, text)
	for name, tt := range map[string]struct {
		path   string
		body   []byte
		status int
	}{
		"bomb":               {cas(bomb), deflate(t, bomb), 413},
		"bomb for an action": {ac(1), deflate(t, bomb), 413},
		"other bytes":        {cas(text), deflate(t, append(text, ' ')), 400},
		"cut":                {cas(text), deflated[:len(deflated)-3], 400},
		"not zstd":           {cas(text), text, 400},
		"empty":              {cas(text), nil, 400},
		"window of 512 MiB":  {cas(text), []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 19 << 3, 1, 0, 0}, 400},
	} {
		got := r.ask("PUT", tt.path, tt.body, "Content-Encoding", "zstd")
		if got.status != tt.status {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tt.status)
		}
	}
	if report := r.verify(); report.Blobs+report.Actions > 0 {
		t.Errorf("something became visible: %+v", report)
	}
}

// An action is here when all is that it names.
func TestActionsNeedTheirBlobs(t *testing.T) {
	r := newRig(t, Options{})
	manifest, output := []byte("manifest"), []byte("output")
	action := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{
		{Path: artifacts.ManifestPath, Digest: digestOf(manifest), Bytes: int64(len(manifest))},
		{Path: "output", Digest: digestOf(output), Bytes: int64(len(output))},
		{Path: "nothing", Digest: emptyBlob},
	}}.Encode()
	r.want(r.ask("PUT", ac(1), action), 201)
	r.want(r.ask("PUT", cas(manifest), manifest), 201)
	r.want(r.ask("GET", ac(1), nil), 404)
	r.want(r.ask("HEAD", ac(1), nil), 404)
	r.want(r.ask("PUT", cas(output), output), 201)
	r.want(r.ask("GET", ac(1), nil), 200, string(action))

	// The first one stays, unless it is of no use.
	r.want(r.ask("PUT", ac(1), []byte("second"), "If-None-Match", "*"), 412)
	must(t, os.Remove(r.blobFile(output)))
	r.want(r.ask("GET", ac(1), nil), 404)
	r.want(r.ask("PUT", ac(1), []byte("third"), "If-None-Match", "*"), 201)
	r.want(r.ask("GET", ac(1), nil), 200, "third")

	// Of a blob whose size is another one, the digest is wrong, whoever says so.
	lying := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: "x", Digest: digestOf(manifest), Bytes: 1}}}.Encode()
	r.want(r.ask("PUT", ac(2), lying), 201)
	r.want(r.ask("GET", ac(2), nil), 404)
}

// Keys are hex text, of which each character has but 16 values: their locks are
// nevertheless all in use.
func TestKeysUseAllLocks(t *testing.T) {
	s := &Server{}
	used := map[*sync.Mutex]bool{}
	for n := range 256 {
		used[s.turn(artifacts.Key(strings.TrimPrefix(ac(byte(n)), "/ac/")))] = true
	}
	if len(used) != len(s.changing) {
		t.Errorf("%d of %d locks are in use", len(used), len(s.changing))
	}
}

// The empty blob need not be sent, and is in the store when an action names it.
func TestActionWithTheEmptyBlob(t *testing.T) {
	r := newRig(t, Options{})
	action := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: "nothing", Digest: emptyBlob}}}.Encode()
	r.want(r.ask("PUT", ac(1), action), 201)
	r.want(r.ask("GET", ac(1), nil), 200, string(action))
	if report := r.verify(); report.Actions != 1 || report.Blobs != 1 {
		t.Errorf("the store has %+v", report)
	}
}

func (r *rig) blobFile(content []byte) string {
	hex := digestOf(content).Hex()
	return r.store.Dir() + "/cas/" + hex[:2] + "/" + hex
}

func message(number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

func digestMessage(content []byte) []byte {
	m := message(fieldHash, []byte(digestOf(content).Hex()))
	return protowire.AppendVarint(protowire.AppendTag(m, fieldSizeBytes, protowire.VarintType), uint64(len(content)))
}

// What Bazel's actions name beside files belongs to them, too: it has to be
// here, it stays when gc comes, and is verified.
func TestActionsOfOtherClients(t *testing.T) {
	r := newRig(t, Options{})
	stdout, inTree, below := []byte("printed"), []byte("a file in a directory"), []byte("a file below it")
	tree := append(message(fieldTreeRoot, fileNode(inTree)), message(fieldTreeChildren, fileNode(below))...)
	action := append(message(fieldStdoutDigest, digestMessage(stdout)),
		message(fieldOutputDirectories, append(message(1, []byte("dir")), message(fieldTreeDigest, digestMessage(tree))...))...)

	all := [][]byte{stdout, inTree, below, tree}
	for _, content := range all {
		r.want(r.ask("PUT", cas(content), content), 201)
	}
	r.want(r.ask("PUT", ac(1), action), 201)
	r.want(r.ask("GET", ac(1), nil), 200, string(action))
	r.want(r.ask("PUT", ac(2), []byte{0xcc, 0xac, 0, 1}), 201) // as ccache's begin
	r.endHolds()
	r.gc(0)
	r.want(r.ask("GET", ac(1), nil), 200, string(action))
	r.want(r.ask("GET", ac(2), nil), 200, "\xcc\xac\x00\x01")
	for _, content := range all {
		r.want(r.ask("GET", cas(content), nil), 200, string(content))
		must(t, os.Rename(r.blobFile(content), r.blobFile(content)+"-away"))
		r.want(r.ask("GET", ac(1), nil), 404)
		must(t, os.Rename(r.blobFile(content)+"-away", r.blobFile(content)))
	}
	r.want(r.ask("GET", ac(1), nil), 200, string(action))
	if report := r.verify(); report.Actions != 2 || report.Blobs != 6 {
		t.Errorf("the store has %+v", report)
	}

	// One that looks like what stands for another is kept as it is.
	sly := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: contentsPath, Digest: digestOf(stdout), Bytes: int64(len(stdout))}}}.Encode()
	r.want(r.ask("PUT", ac(3), sly), 201)
	r.want(r.ask("GET", ac(3), nil), 200, string(sly))
}

func fileNode(content []byte) []byte {
	return message(fieldDirectoryFiles, bytes.Join([][]byte{message(1, []byte("name")), message(fieldFileDigest, digestMessage(content))}, nil))
}

func outputDirectory(tree []byte) []byte {
	return message(fieldOutputDirectories, message(fieldTreeDigest, digestMessage(tree)))
}

// An action that names little and means much costs what is allowed and no more:
// a directory is read once, names are counted, descriptions of directories weighed.
func TestActionsThatNameTooMuch(t *testing.T) {
	r := newRig(t, Options{})
	var root []byte
	for n := range maxNamed - 2 { // with the contents and the tree
		root = append(root, fileNode([]byte{byte(n), byte(n >> 8)})...)
	}
	fits := message(fieldTreeRoot, root)
	exceeds := append(message(fieldTreeRoot, root), message(fieldTreeChildren, fileNode([]byte("one more")))...)
	// One file again and again, and never the same tree.
	var heavy [3][]byte
	for i := range heavy {
		twice := bytes.Repeat(fileNode([]byte("a file")), maxTrees/2/len(fileNode([]byte("a file"))))
		heavy[i] = append(message(fieldTreeRoot, twice), message(9, []byte{byte(i)})...)
	}
	for _, tree := range append(heavy[:], fits, exceeds) {
		r.want(r.ask("PUT", cas(tree), tree), 201)
	}
	for i, tt := range []struct {
		name   string
		action []byte
		status int
		says   string
	}{
		{"one tree, many times", bytes.Repeat(outputDirectory(fits), 500), 201, ""},
		{"a file too many", bytes.Repeat(outputDirectory(exceeds), 500), 413, "9999 blobs"},
		{"heavy", outputDirectory(heavy[0]), 201, ""},
		{"too heavy", bytes.Join([][]byte{outputDirectory(heavy[0]), outputDirectory(heavy[1]), outputDirectory(heavy[2])}, nil), 413, "16777216 bytes"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := r.direct("PUT", ac(byte(i)), tt.action)
		runtime.ReadMemStats(&after)
		if got.Code != tt.status || !strings.Contains(got.Body.String(), tt.says) {
			t.Errorf("%s: %d %s, want %d and %q", tt.name, got.Code, cut(got.Body.Bytes()), tt.status, tt.says)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 128<<20 {
			t.Errorf("%s: %d bytes were allocated", tt.name, allocated)
		}
	}
	if actions, blobs := len(r.files("ac")), len(r.files("cas")); actions != 2 || blobs != 5+2 {
		t.Errorf("the store has %d actions, %d blobs", actions, blobs)
	}
}

// A blob that was damaged in the store is not sent, and can be put again.
func TestDamagedBlob(t *testing.T) {
	var log lines
	r := newRig(t, Options{Log: log.logger()})
	content := random(10_000, 1)
	r.want(r.ask("PUT", cas(content), content), 201)
	must(t, os.Chmod(r.blobFile(content), 0o644))
	damaged := bytes.Clone(content)
	damaged[5000] ^= 1
	must(t, os.WriteFile(r.blobFile(content), damaged, 0o644))
	r.want(r.ask("PUT", cas(content), content, "If-None-Match", "*"), 201)
	r.want(r.ask("GET", cas(content), nil), 200, string(content))
	must(t, os.WriteFile(r.blobFile(content), damaged, 0o644))
	r.want(r.ask("GET", cas(content), nil), 404)
	if !strings.Contains(log.String(), "damaged") || !strings.Contains(r.metric(), "prismflow_cache_corrupt_blobs_total 2") {
		t.Errorf("nobody was told: %s", &log)
	}
	if aside, err := os.ReadDir(r.store.Dir() + "/quarantine"); err != nil || len(aside) != 2 {
		t.Errorf("in quarantine: %v, %v", aside, err)
	}
}

// metric is what Prometheus reads.
func (r *rig) metric() string {
	r.t.Helper()
	got := r.ask("GET", "/metrics", nil)
	r.want(got, 200)
	return string(got.body)
}

func TestMetrics(t *testing.T) {
	r := newRig(t, Options{})
	content := random(1000, 1)
	r.ask("GET", cas(content), nil)
	r.ask("PUT", cas(content), []byte("wrong"))
	r.ask("PUT", cas(content), content)
	r.ask("GET", cas(content), nil)
	r.ask("BREW", "/coffee", nil)
	text := r.metric()
	for _, want := range []string{
		`prismflow_cache_requests_total{code="404",kind="cas",method="GET"} 1`,
		`prismflow_cache_requests_total{code="400",kind="cas",method="PUT"} 1`,
		`prismflow_cache_requests_total{code="201",kind="cas",method="PUT"} 1`,
		`prismflow_cache_requests_total{code="404",kind="other",method="other"} 1`,
		`prismflow_cache_lookups_total{kind="cas",result="hit"} 1`,
		`prismflow_cache_lookups_total{kind="cas",result="miss"} 1`,
		`prismflow_cache_refused_uploads_total 1`,
		`prismflow_cache_received_bytes_total 1005`,
		`prismflow_cache_stored_bytes 1000`,
		`prismflow_cache_in_flight 0`,
		`prismflow_cache_request_seconds_count{kind="cas",method="PUT"} 2`,
		`process_resident_memory_bytes`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
