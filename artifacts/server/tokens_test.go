package server

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// lines collects what is logged or warned of.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) warn(message string) { fmt.Fprintln(l, message) }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *zerolog.Logger {
	logger := zerolog.New(l)
	return &logger
}

// tokenFile is a file with a token for each role.
func tokenFile(t *testing.T) (path, reader, writer string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tokens")
	reader, err := AddToken(path, "laptop", Read)
	must(t, err)
	writer, err = AddToken(path, "ci", ReadWrite)
	must(t, err)
	return path, reader, writer
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestRoles(t *testing.T) {
	path, reader, writer := tokenFile(t)
	content := []byte("content")
	for _, tt := range []struct {
		name          string
		anonymous     Role
		authorization string
		get, put      int
	}{
		{"nobody", NoAccess, "", 401, 401},
		{"nobody, reading allowed", Read, "", 200, 401},
		{"nobody, all allowed", ReadWrite, "", 200, 201},
		{"stranger", NoAccess, "Bearer " + reader + "x", 401, 401},
		{"stranger, reading allowed", Read, "Bearer x", 200, 401},
		{"reader", NoAccess, "Bearer " + reader, 200, 403},
		{"reader, all allowed", ReadWrite, "Bearer " + reader, 200, 201},
		{"writer", NoAccess, "Bearer " + writer, 200, 201},
		{"writer, scheme in lower case", NoAccess, "bearer " + writer, 200, 201},
		{"writer by password", NoAccess, basic("whoever", writer), 200, 201},
		{"writer as user", NoAccess, basic(writer, ""), 401, 401},
		{"reader by password", NoAccess, basic("", reader), 200, 403},
		{"hash for the token", NoAccess, "Bearer sha256:" + strings.Repeat("0", 64), 401, 401},
		{"other scheme", NoAccess, "Digest " + writer, 401, 401},
		{"no scheme", NoAccess, writer, 401, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log lines
			tokens, err := OpenTokens(path, log.warn)
			must(t, err)
			r := newRig(t, Options{Tokens: tokens, Anonymous: tt.anonymous, Log: log.logger()})
			must(t, r.s.store.Put(ctx, digestOf(content), int64(len(content)), bytes.NewReader(content)))
			headers := []string{"Authorization", tt.authorization}
			if tt.authorization == "" {
				headers = nil
			}
			r.want(r.ask("GET", cas(content), nil, headers...), tt.get)
			put := r.ask("PUT", cas([]byte("new")), []byte("new"), headers...)
			r.want(put, tt.put)
			if challenge := put.header.Get("WWW-Authenticate"); (challenge != "") != (tt.put == 401) {
				t.Errorf("status %d with the challenge %q", put.status, challenge)
			}
			for _, secret := range []string{reader, writer} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log has a token: %s", &log)
				}
			}
			if tt.get == 200 && strings.Contains(tt.name, "er by password") && !strings.Contains(log.String(), `"token":"`) {
				t.Errorf("the log does not say who it was: %s", &log)
			}
		})
	}
}

// When the file changes the new one counts, and a broken one does not.
func TestTokensReload(t *testing.T) {
	path, reader, writer := tokenFile(t)
	var log lines
	tokens, err := OpenTokens(path, log.warn)
	must(t, err)
	has := func(secret string, want Role) {
		t.Helper()
		if _, role := tokens.find(secret); role != want {
			t.Errorf("role %v, want %v; warned: %s", role, want, &log)
		}
	}
	has(writer, ReadWrite)
	third, err := AddToken(path, "third", Read)
	must(t, err)
	tokens.Reload()
	has(third, Read)

	good, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte("ci read-write sha256:123\n"), 0o600))
	tokens.Reload()
	has(writer, ReadWrite)
	if !strings.Contains(log.String(), "line 1") || !strings.Contains(log.String(), "still holds") {
		t.Errorf("warned: %s", &log)
	}
	must(t, os.Remove(path))
	tokens.Reload()
	has(writer, ReadWrite)

	// Without being told, it is noticed when it is next asked for.
	without := strings.ReplaceAll(string(good), "ci", "# ci")
	must(t, os.WriteFile(path, []byte(without), 0o600))
	tokens.file.checked = time.Now().Add(-checkEvery)
	has(writer, NoAccess)
	has(reader, Read)
	if n := tokens.Len(); n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
}

func TestTokenFilesThatAreWrong(t *testing.T) {
	hash := "sha256:" + strings.Repeat("ab", 32)
	for _, tt := range []struct{ text, want string }{
		{"ci read-write", "line 1: 2 words and not three"},
		{"ci admin " + hash, `line 1: "admin" is no role`},
		{"# well\n\nci read sha256:abc", "line 3: the third word is not"},
		{"ci read " + strings.Repeat("ab", 32), "line 1: the third word is not"},
		{"ci read " + hash + "00", "line 1: the third word is not"},
		{"c/i read " + hash, `line 1: the name "c/i" has other characters`},
		{"ci read " + hash + "\nci read " + hash, "line 2: a second token of the name ci"},
		{strings.Repeat("x", 1<<17), "token too long"},
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		must(t, os.WriteFile(path, []byte(tt.text), 0o600))
		_, err := OpenTokens(path, func(string) {})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %v, want %q", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), strings.Repeat("ab", 32)) {
			t.Errorf("%.60q: the error repeats what may be a token: %v", tt.text, err)
		}
	}
}

// Several processes add tokens at once, and none is lost.
func TestAddTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	must(t, os.WriteFile(path, []byte("# a comment without an end of line"), 0o640))
	secrets := make([]string, 16)
	var adding sync.WaitGroup
	for i := range secrets {
		adding.Go(func() {
			var err error
			if secrets[i], err = AddToken(path, fmt.Sprint("token-", i), Read); err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	tokens, err := OpenTokens(path, func(string) {})
	must(t, err)
	for i, secret := range secrets {
		if name, role := tokens.find(secret); name != fmt.Sprint("token-", i) || role != Read {
			t.Errorf("token %d is that of %q, %v", i, name, role)
		}
	}
	before, err := os.ReadFile(path)
	must(t, err)
	if _, err := AddToken(path, "token-3", ReadWrite); err == nil || !strings.Contains(err.Error(), "a second token of the name token-3") {
		t.Errorf("a second token of a name: %v", err)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the file changed by a token that was refused")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}
