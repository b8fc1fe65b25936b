package artifacts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memory"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

var ctx = context.Background()

func TestDigest(t *testing.T) {
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	d := artifacts.DigestOf(nil)
	if d != empty || d.Hex() != empty[7:] || d.Short() != "e3b0c44298fc" {
		t.Errorf("DigestOf(nil) = %s, %s, %s", d, d.Hex(), d.Short())
	}
	if got, err := artifacts.ParseDigest(empty); err != nil || got != d {
		t.Errorf("ParseDigest: %s, %v", got, err)
	}
	for _, bad := range []string{"", "sha256:", empty[7:], empty[:70], empty + "0", "SHA256:" + empty[7:], "sha256:" + strings.ToUpper(empty[7:]), "sha256:" + strings.Repeat("g", 64),
		"sha256:" + strings.Repeat("/", 64), "sha256:" + strings.Repeat(":", 64), "sha256:" + strings.Repeat("`", 64), empty[:70] + "\x00", empty[:70] + "\xff"} {
		if _, err := artifacts.ParseDigest(bad); err == nil {
			t.Errorf("ParseDigest(%q): no error", bad)
		}
	}
}

// TestGoldenKeys: a changed key makes everything that anybody has stored
// unreachable. So it is a decision, taken by changing this table.
func TestGoldenKeys(t *testing.T) {
	d := artifacts.DigestOf([]byte("data"))
	for _, test := range []struct {
		name      string
		request   artifacts.Request
		canonical string
		key       artifacts.Key
	}{
		{
			name:      "least",
			request:   artifacts.Request{Kind: "split.leave_one_out", Version: 1},
			canonical: `{"kind":"split.leave_one_out","version":1}`,
			key:       "5551d49a2199922e3db86ee2207daf22ec7d0981d537d7f5f3ced16db03ec0f7",
		},
		{
			name: "parameters",
			request: artifacts.Request{Kind: "prism.train", Version: 3, Params: map[string]any{
				"seed": int64(1) << 60, "learning_rate": 0.001, "backbone": "sasrec", "text": "a<b>&é\u2028", "causal": true,
				"ks": []int{5, 10}, "tiny": 1e-7, "huge": 1e21, "whole": 2.0, "nothing": nil, "table": map[string]any{"b": 1, "a": 2},
			}},
			canonical: `{"kind":"prism.train","version":3,"params":{"backbone":"sasrec","causal":true,"huge":1e+21,"ks":[5,10],"learning_rate":0.001,"nothing":null,"seed":1152921504606846976,"table":{"a":2,"b":1},"text":"a<b>&é\u2028","tiny":1e-7,"whole":2}}`,
			key:       "7c57f1610cc6281c8c1f5ceacc7ae3faeaeb95542d0a271e64cfb2c3de8c7c9b",
		},
		{
			name: "inputs and files",
			request: artifacts.Request{Kind: "exec", Version: 1,
				Inputs: map[string]map[string]artifacts.Digest{"words": {"word": d, "count": d}, "plain": {"": d}},
				Files:  map[string][]artifacts.FileDigest{"files": {{Name: "count.py", Digest: d}, {Digest: d}}},
			},
			canonical: `{"kind":"exec","version":1,"inputs":{"plain":{"":"` + string(d) + `"},"words":{"count":"` + string(d) + `","word":"` + string(d) + `"}},"files":{"files":[{"name":"count.py","digest":"` + string(d) + `"},{"digest":"` + string(d) + `"}]}}`,
			key:       "f225fa8c3976f702c925aab73423658ddd36d0df1f654dabc308bbee8f6b3673",
		},
	} {
		canonical, err := test.request.Canonical()
		if err != nil || string(canonical) != test.canonical {
			t.Errorf("%s: canonical form is\n%s, %v, want\n%s", test.name, canonical, err, test.canonical)
		}
		if key, err := test.request.Key(); err != nil || key != test.key {
			t.Errorf("%s: key is %s, %v, want %s", test.name, key, err, test.key)
		}
	}
}

func TestRequestThatHasNoKey(t *testing.T) {
	for name, r := range map[string]artifacts.Request{
		"not a number":        {Params: map[string]any{"x": math.NaN()}},
		"infinite":            {Params: map[string]any{"x": math.Inf(1)}},
		"text not UTF-8":      {Params: map[string]any{"x": "\xff"}},
		"file name not UTF-8": {Files: map[string][]artifacts.FileDigest{"f": {{Name: "caf\xe9"}}}},
		"name not UTF-8":      {Inputs: map[string]map[string]artifacts.Digest{"i": {"\xc3": ""}}},
	} {
		if _, err := r.Key(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, fine := range []string{`\ufffd`, "\ufffd", `\\ufffd`, `a\`} {
		if _, err := (artifacts.Request{Params: map[string]any{"x": fine}}).Key(); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
}

func TestVerifyReader(t *testing.T) {
	b := storetest.Random(10_000, 1)
	d := artifacts.DigestOf(b)
	if err := iotest.TestReader(artifacts.VerifyReader(io.NopCloser(bytes.NewReader(b)), d), b); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		r    io.Reader
		want error
	}{
		"flipped":       {io.MultiReader(bytes.NewReader(b[:9999]), strings.NewReader("!")), artifacts.ErrCorrupt},
		"short":         {bytes.NewReader(b[:9999]), artifacts.ErrCorrupt},
		"long":          {io.MultiReader(bytes.NewReader(b), strings.NewReader("!")), artifacts.ErrCorrupt},
		"data with end": {iotest.DataErrReader(bytes.NewReader(b[1:])), artifacts.ErrCorrupt},
		"reader fails":  {io.MultiReader(bytes.NewReader(b), iotest.ErrReader(broken)), broken},
	} {
		r := artifacts.VerifyReader(io.NopCloser(test.r), d)
		for range 2 { // it stays an error
			if _, err := io.ReadAll(r); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
	}
}

// remoteExecution is the part of the remote execution API, version 2, that an
// ActionResult consists of, as its published proto file has it.
func remoteExecution(t *testing.T) *dynamicpb.Message {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, typeName string, repeated bool) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if typeName != "" {
			f.TypeName = proto.String(".build.bazel.remote.execution.v2." + typeName)
		}
		if repeated {
			f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		return f
	}
	const (
		str, i64, i32 = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_INT64, descriptorpb.FieldDescriptorProto_TYPE_INT32
		msg, raw, yes = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_BOOL
	)
	message := func(name string, fields ...*descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
		return &descriptorpb.DescriptorProto{Name: &name, Field: fields}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("remote_execution.proto"), Package: proto.String("build.bazel.remote.execution.v2"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			message("Digest", field("hash", 1, str, "", false), field("size_bytes", 2, i64, "", false)),
			message("OutputFile", field("path", 1, str, "", false), field("digest", 2, msg, "Digest", false), field("is_executable", 4, yes, "", false), field("contents", 5, raw, "", false)),
			message("ActionResult", field("output_files", 2, msg, "OutputFile", true), field("exit_code", 4, i32, "", false), field("stdout_raw", 5, raw, "", false), field("stdout_digest", 6, msg, "Digest", false)),
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return dynamicpb.NewMessage(file.Messages().ByName("ActionResult"))
}

// TestActionResultIsRemoteExecution: the protobuf library understands what we
// write, and we what it writes.
func TestActionResultIsRemoteExecution(t *testing.T) {
	d := artifacts.DigestOf([]byte("data"))
	want := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{
		{Path: artifacts.ManifestPath, Digest: d, Bytes: 1 << 40}, {Path: "empty", Digest: artifacts.DigestOf(nil)},
	}}
	msg := remoteExecution(t)
	if err := proto.Unmarshal(want.Encode(), msg); err != nil {
		t.Fatal(err)
	}
	if len(msg.GetUnknown()) > 0 {
		t.Errorf("fields that are not in the schema: %x", msg.GetUnknown())
	}
	var got any
	text, err := protojson.Marshal(msg)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	wantJSON := map[string]any{"outputFiles": []any{
		map[string]any{"path": "manifest.json", "digest": map[string]any{"hash": d.Hex(), "sizeBytes": "1099511627776"}},
		map[string]any{"path": "empty", "digest": map[string]any{"hash": artifacts.DigestOf(nil).Hex()}},
	}}
	if diff := cmp.Diff(wantJSON, got); diff != "" {
		t.Errorf("as the library reads it (-want +got):\n%s", diff)
	}

	server := remoteExecution(t) // with fields that we do not use
	err = protojson.Unmarshal([]byte(`{"outputFiles": [
		{"path": "manifest.json", "isExecutable": true, "contents": "AAAA", "digest": {"hash": "`+d.Hex()+`", "sizeBytes": "1099511627776"}},
		{"path": "empty", "digest": {"hash": "`+artifacts.DigestOf(nil).Hex()+`"}}], "exitCode": -7, "stdoutRaw": "AAAA", "stdoutDigest": {"hash": "x"}}`), server)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := proto.Marshal(server)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := artifacts.DecodeActionResult(encoded)
	want.ExitCode = -7
	if diff := cmp.Diff(want, decoded); diff != "" || err != nil {
		t.Errorf("DecodeActionResult: %v (-want +got):\n%s", err, diff)
	}
	if again, err := artifacts.DecodeActionResult(want.Encode()); err != nil || again.ExitCode != -7 {
		t.Errorf("exit code: %d, %v, want -7", again.ExitCode, err)
	}
}

func TestHostileActionResult(t *testing.T) {
	d := artifacts.DigestOf([]byte("data"))
	good := artifacts.OutputFile{Path: "a", Digest: d, Bytes: 4}
	many := make([]artifacts.OutputFile, 10_001)
	for i := range many {
		many[i] = artifacts.OutputFile{Path: strings.Repeat("x", i%50) + string(rune('0'+i/50)), Digest: d}
	}
	encode := func(files ...artifacts.OutputFile) []byte { return artifacts.ActionResult{OutputFiles: files}.Encode() }
	for name, b := range map[string][]byte{
		"garbage":            []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		"cut off":            encode(good)[:20],
		"path twice":         encode(good, good),
		"no path":            encode(artifacts.OutputFile{Digest: d}),
		"path not UTF-8":     encode(artifacts.OutputFile{Path: "\xff", Digest: d}),
		"long path":          encode(artifacts.OutputFile{Path: strings.Repeat("a", 5000), Digest: d}),
		"negative size":      encode(artifacts.OutputFile{Path: "a", Digest: d, Bytes: -1}),
		"many files":         encode(many...),
		"wrong wire type":    {0x10, 0x01},
		"no digest":          {0x12, 0x03, 0x0a, 0x01, 'a'},
		"digest of nothing":  {0x12, 0x05, 0x0a, 0x01, 'a', 0x12, 0x00},
		"digest with a path": append([]byte{0x12, 0x09, 0x0a, 0x01, 'a', 0x12, 0x04, 0x0a, 0x02}, "..."[:2]...),
		"large":              make([]byte, 5<<20),
	} {
		if a, err := artifacts.DecodeActionResult(b); err == nil {
			t.Errorf("%s: no error, %v", name, a)
		}
	}
}

// What a remote says of who computed a result is printed: it must not reach the
// terminal as more than text.
func TestManifestOfATerminal(t *testing.T) {
	const hostile = "ann\x1b[2J\nresult trusted\x9b\x07\u202etxt.exe"
	m := storetest.Manifest(t, memory.New(), 1, map[string][]byte{"table": []byte("rows")})
	m.Provenance.User, m.Provenance.Host, m.Provenance.Stage, m.Provenance.Run, m.Provenance.Pipeline, m.Incomplete = hostile, hostile, hostile, hostile, hostile, hostile
	m.Provenance.Versions = map[string]string{hostile: hostile}
	m.Report = []artifacts.Count{{Name: hostile}}
	encoded, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := artifacts.DecodeManifest(encoded)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprint(got.Provenance, got.Incomplete, got.Report)
	if i := strings.IndexFunc(shown, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }); i >= 0 {
		t.Errorf("a control character in %q", shown)
	}
	if got.Provenance.User[:3] != "ann" {
		t.Errorf("the user is %q", got.Provenance.User)
	}
}

// Numbers that cannot be are as if they were not there, so that sums of them are
// numbers still; and no text fills the screen.
func TestManifestOfImpossibleNumbers(t *testing.T) {
	for _, seconds := range []float64{1e308, -1} {
		m := storetest.Manifest(t, memory.New(), 1, map[string][]byte{"table": []byte("rows")})
		m.Provenance.Seconds, m.Provenance.PeakRSS, m.Provenance.User = seconds, -1, strings.Repeat("ä", 1<<20)
		encoded, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := artifacts.DecodeManifest(encoded)
		if p := got.Provenance; err != nil || p.Seconds != 0 || p.PeakRSS != 0 || len(p.User) > 5000 || !utf8.ValidString(p.User) {
			t.Errorf("%v seconds, %d bytes, a user of %d bytes, %v", p.Seconds, p.PeakRSS, len(p.User), err)
		}
	}
}

func TestHostileManifest(t *testing.T) {
	s := memory.New()
	valid := func() artifacts.Manifest {
		return storetest.Manifest(t, s, 1, map[string][]byte{"table": []byte("rows")})
	}
	change := func(f func(*artifacts.Manifest)) artifacts.Manifest {
		m := valid()
		f(&m)
		return m
	}
	out := valid().Outputs["table"]
	rename := func(name string) artifacts.Manifest {
		return change(func(m *artifacts.Manifest) { m.Outputs = map[string]artifacts.Output{name: out} })
	}
	for name, m := range map[string]artifacts.Manifest{
		"other format":  change(func(m *artifacts.Manifest) { m.Format = 2 }),
		"no key":        change(func(m *artifacts.Manifest) { m.Key = "" }),
		"other request": change(func(m *artifacts.Manifest) { m.Request.Version++ }),
		"path":          rename("../../etc/passwd"),
		"kind": change(func(m *artifacts.Manifest) {
			m.Request.Kind = "exec\x1b[2J"
			m.Key, _ = m.Request.Key()
		}),
		"memo":           change(func(m *artifacts.Manifest) { m.Memos = []artifacts.Key{"../../etc/passwd"} }),
		"many memos":     change(func(m *artifacts.Manifest) { m.Memos = slices.Repeat([]artifacts.Key{m.Key}, 1001) }),
		"empty name":     rename(""),
		"manifest.json":  rename(artifacts.ManifestPath),
		"upper case":     rename("Table"),
		"long name":      rename(strings.Repeat("a", 300)),
		"negative bytes": change(func(m *artifacts.Manifest) { o := out; o.Bytes = -1; m.Outputs["table"] = o }),
		"no digest":      change(func(m *artifacts.Manifest) { m.Outputs["table"] = artifacts.Output{} }),
		"column's digest": change(func(m *artifacts.Manifest) {
			o := out
			o.Columns = []artifacts.Column{{Name: "a"}}
			m.Outputs["table"] = o
		}),
	} {
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: Encode: no error", name)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := artifacts.DecodeManifest(b); err == nil {
			t.Errorf("%s: DecodeManifest: no error", name)
		}
	}
	b, err := valid().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "cut off": b[:len(b)-1], "twice": append(bytes.Clone(b), b...), "deep": bytes.Repeat([]byte{'['}, 1<<20), "large": bytes.Repeat([]byte{' '}, 17<<20),
	} {
		if _, err := artifacts.DecodeManifest(b); err == nil {
			t.Errorf("%s: DecodeManifest: no error", name)
		}
	}
	m := change(func(m *artifacts.Manifest) { m.Report = []artifacts.Count{{Name: "x", Value: math.NaN()}} })
	if _, err := m.Encode(); err == nil {
		t.Error("NaN in the report: no error")
	}
}

// TestLargeNumbersKeepTheirDigits: a seed above 2^53 would not survive float64.
func TestLargeNumbersKeepTheirDigits(t *testing.T) {
	m := storetest.Manifest(t, memory.New(), 1<<60+1, nil)
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := artifacts.DecodeManifest(b)
	if err != nil || got.Request.Params["seed"] != json.Number("1152921504606846977") {
		t.Errorf("seed is %v, %v", got.Request.Params["seed"], err)
	}
}

// A lossy store has lost, or garbled, some of its blobs.
type lossy struct {
	artifacts.Store
	garbled map[artifacts.Digest][]byte // nil: lost
}

func (l lossy) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	if b, ok := l.garbled[d]; ok {
		if b == nil {
			return 0, artifacts.ErrNotFound
		}
		return int64(len(b)), nil
	}
	return l.Store.Stat(ctx, d)
}

func (l lossy) Get(ctx context.Context, d artifacts.Digest) (io.ReadCloser, error) {
	if b, ok := l.garbled[d]; ok {
		if b == nil {
			return nil, artifacts.ErrNotFound
		}
		return artifacts.VerifyReader(io.NopCloser(bytes.NewReader(b)), d), nil
	}
	return l.Store.Get(ctx, d)
}

func TestMisses(t *testing.T) {
	s := memory.New()
	m := storetest.Manifest(t, s, 1, map[string][]byte{"one": []byte("1"), "two": []byte("22")})
	if _, err := artifacts.Publish(ctx, s, m); err != nil {
		t.Fatal(err)
	}
	encoded, err := s.GetAction(ctx, m.Key)
	if err != nil {
		t.Fatal(err)
	}
	action, err := artifacts.DecodeActionResult(encoded)
	if err != nil {
		t.Fatal(err)
	}
	manifest, _ := action.File(artifacts.ManifestPath)
	text := storetest.Get(t, s, manifest.Digest)
	other := storetest.Manifest(t, s, 2, nil)
	two := m.Outputs["two"].Digest

	for _, test := range []struct {
		name    string
		garbled map[artifacts.Digest][]byte
		action  []byte
		key     artifacts.Key
		reason  string
		is      error
	}{
		{name: "nothing published", key: storetest.Key("nobody asked"), reason: "no result recorded"},
		{name: "garbage", action: []byte("\xff"), reason: "the recorded result is corrupt"},
		{name: "foreign", action: artifacts.ActionResult{OutputFiles: action.OutputFiles[1:]}.Encode(), reason: "the recorded result is not one of prismflow"},
		{name: "failed", action: artifacts.ActionResult{OutputFiles: action.OutputFiles, ExitCode: 1}.Encode(), reason: "the recorded result is not one of prismflow"},
		{name: "cut off", action: artifacts.ActionResult{OutputFiles: action.OutputFiles[:2]}.Encode(), reason: "the recorded result does not name the outputs of its manifest and those alone"},
		{name: "under another key", action: encoded, key: other.Key, reason: "the manifest is that of " + m.Key.Short()},
		{name: "no manifest", garbled: map[artifacts.Digest][]byte{manifest.Digest: nil}, reason: "the manifest is absent", is: artifacts.ErrNotFound},
		{name: "manifest cut off", garbled: map[artifacts.Digest][]byte{manifest.Digest: text[:20]}, reason: "the manifest is corrupt", is: artifacts.ErrCorrupt},
		{name: "manifest empty", garbled: map[artifacts.Digest][]byte{manifest.Digest: {}}, reason: "the manifest is corrupt", is: artifacts.ErrCorrupt},
		{name: "manifest grown", garbled: map[artifacts.Digest][]byte{manifest.Digest: append(bytes.Clone(text), ' ')}, reason: "the manifest is corrupt", is: artifacts.ErrCorrupt},
		{name: "no output", garbled: map[artifacts.Digest][]byte{two: nil}, reason: "output two is absent", is: artifacts.ErrNotFound},
		{name: "output cut off", garbled: map[artifacts.Digest][]byte{two: []byte("2")}, reason: "output two is corrupt", is: artifacts.ErrCorrupt},
		{name: "output garbled", garbled: map[artifacts.Digest][]byte{two: []byte("23")}, reason: "output two is corrupt", is: artifacts.ErrCorrupt},
	} {
		key := m.Key
		if test.key != "" {
			key = test.key
		}
		if test.action != nil {
			if err := s.PutAction(ctx, key, test.action, true); err != nil {
				t.Fatal(err)
			}
		} else if err := s.PutAction(ctx, m.Key, encoded, true); err != nil {
			t.Fatal(err)
		}
		_, err := artifacts.Lookup(ctx, lossy{s, test.garbled}, key)
		var miss *artifacts.Miss
		if !errors.As(err, &miss) || miss.Reason != test.reason || miss.Key != key {
			t.Errorf("%s: Lookup: %v, want a miss because %q", test.name, err, test.reason)
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: Lookup: %v, want one that is %q", test.name, err, test.is)
		}
	}
}

func FuzzDecodeActionResult(f *testing.F) {
	f.Add([]byte{})
	f.Add(artifacts.ActionResult{ExitCode: 3, OutputFiles: []artifacts.OutputFile{
		{Path: artifacts.ManifestPath, Digest: artifacts.DigestOf(nil)}, {Path: "table", Digest: artifacts.DigestOf([]byte("x")), Bytes: 1},
	}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := artifacts.DecodeActionResult(b)
		if err != nil {
			return
		}
		again, err := artifacts.DecodeActionResult(a.Encode())
		if diff := cmp.Diff(a, again); diff != "" || err != nil {
			t.Errorf("not the same after a round trip: %v\n%s", err, diff)
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add([]byte(`{"format":1}`))
	m := storetest.Manifest(f, memory.New(), 1, map[string][]byte{"table": []byte("rows")})
	m.Provenance.Versions = map[string]string{"go": "1.26"}
	b, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := artifacts.DecodeManifest(b)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("a valid manifest cannot be encoded: %v", err)
		}
		if _, err := artifacts.DecodeManifest(again); err != nil {
			t.Errorf("not valid after a round trip: %v", err)
		}
	})
}
