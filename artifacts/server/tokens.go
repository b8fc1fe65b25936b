package server

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Tokens are the bearer tokens that a file lists, a line each:
//
//	# name  role        SHA-256 of the token
//	ci      read-write  sha256:3f8a…
//	laptop  read        sha256:77c1…
//
// The file has no secret in it. A token is 32 random bytes, so that its plain
// hash cannot be reversed by trying. When the file changes it is read again; one
// that cannot be understood changes nothing and is told of. All methods may be
// called by several goroutines at once.
type Tokens struct{ file *watched[[]token] }

type token struct {
	name string
	role Role
	hash [sha256.Size]byte
}

// OpenTokens reads a token file. warn hears, for people, of a later version of
// it that cannot be used, each time that there is one.
func OpenTokens(path string, warn func(message string)) (*Tokens, error) {
	read := func() ([]token, error) { return readTokens(path) }
	file, err := watch("the token file "+path, []string{path}, read, warn)
	if err != nil {
		return nil, err
	}
	return &Tokens{file}, nil
}

// Reload reads the file again, changed or not.
func (t *Tokens) Reload() { t.file.reload() }

// Len is how many tokens there are.
func (t *Tokens) Len() int { return len(t.file.get()) }

// find says whose a secret is. It takes the same time whichever token it is,
// or none.
func (t *Tokens) find(secret string) (name string, role Role) {
	hash := sha256.Sum256([]byte(secret))
	for _, known := range t.file.get() {
		if subtle.ConstantTimeCompare(hash[:], known.hash[:]) == 1 {
			name, role = known.name, known.role
		}
	}
	return name, role
}

// maxTokenFile is the most bytes that are read of a token file.
const maxTokenFile = 4 << 20

func readTokens(path string) ([]token, error) {
	text, err := readFile(path, maxTokenFile)
	if err != nil {
		return nil, err
	}
	tokens, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tokens, nil
}

// parseTokens reads the text of a token file. Its errors do not repeat a hash,
// where somebody may have put the token itself.
func parseTokens(text []byte) ([]token, error) {
	var tokens []token
	var wrong []error
	names := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t, err := parseToken(line)
		if err == nil && names[t.name] {
			err = fmt.Errorf("a second token of the name %s", t.name)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		names[t.name] = true
		tokens = append(tokens, t)
	}
	return tokens, errors.Join(append(wrong, lines.Err())...)
}

func parseToken(line string) (token, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return token{}, fmt.Errorf("%d words and not three: name, role, sha256:<hex of the token's hash>", len(fields))
	}
	t := token{name: fields[0]}
	if err := CheckTokenName(t.name); err != nil {
		return token{}, err
	}
	var err error
	if t.role, err = ParseRole(fields[1]); err != nil {
		return token{}, err
	}
	digits, ok := strings.CutPrefix(fields[2], "sha256:")
	hash, err := hex.DecodeString(digits)
	if !ok || err != nil || len(hash) != sha256.Size {
		return token{}, errors.New("the third word is not sha256: and 64 hex digits; prismflow cache token makes such a line")
	}
	copy(t.hash[:], hash)
	return t, nil
}

// CheckTokenName says whether a token may have a name: it goes to logs.
func CheckTokenName(name string) error {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._@-", rune(c)) {
			return fmt.Errorf("the name %.100q has other characters than letters, digits and . _ @ -", name)
		}
	}
	if name == "" || len(name) > 100 {
		return fmt.Errorf("a name has 1 to 100 characters, not %d", len(name))
	}
	return nil
}

// NewToken makes a token and the line of a token file that lets it in.
func NewToken(name string, role Role) (secret, line string, err error) {
	if err := CheckTokenName(name); err != nil {
		return "", "", err
	}
	if role != Read && role != ReadWrite {
		return "", "", fmt.Errorf("a token with the role %s would be of no use", role)
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails, says its documentation
	secret = base64.RawURLEncoding.EncodeToString(random[:])
	hash := sha256.Sum256([]byte(secret))
	return secret, fmt.Sprintf("%s %s sha256:%s", name, role, hex.EncodeToString(hash[:])), nil
}

// AddToken makes a token and adds its line to a token file, which is made where
// there is none. Several processes may do so at once.
func AddToken(path, name string, role Role) (secret string, err error) {
	secret, line, err := NewToken(name, role)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil { // until it is closed
		return "", fmt.Errorf("locking %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", err
	}
	line += "\n"
	if len(text) > 0 && text[len(text)-1] != '\n' {
		line = "\n" + line
	}
	if _, err := parseTokens(append(text, line...)); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	// One call: a server that reads the file meanwhile sees all of the line or nothing.
	if _, err := f.WriteString(line); err != nil {
		return "", err
	}
	return secret, f.Sync()
}
