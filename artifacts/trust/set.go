package trust

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// A Member is somebody whose results are believed.
type Member struct {
	Name string
	Key  Key
}

// String is the line of a member in the file of a set.
func (m Member) String() string { return m.Name + " " + string(m.Key) }

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$`)

// ParseMember reads "NAME KEY".
func ParseMember(line string) (Member, error) {
	fields := strings.Fields(line)
	if len(fields) != 2 {
		return Member{}, fmt.Errorf("needs a name and a public key, such as \"ann %s…\"", keyPrefix)
	}
	key, err := ParseKey(fields[1])
	if err != nil {
		return Member{}, err
	}
	return Member{fields[0], key}, CheckName(fields[0])
}

// CheckName says what is wrong with the name of a member.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return errors.New("a name has up to 64 letters, digits, _, ., @ and -, and begins with a letter or digit")
	}
	return nil
}

// A Set is whose results are believed. The zero value believes nobody.
type Set struct{ members []Member }

// Members are those of the set in their order.
func (s *Set) Members() []Member { return slices.Clone(s.members) }

// Add adds a member, unless the key is there already. Two members may have one
// name: somebody who works on two machines.
func (s *Set) Add(m Member) (added bool) {
	if slices.ContainsFunc(s.members, func(have Member) bool { return have.Key == m.Key }) {
		return false
	}
	s.members = append(s.members, m)
	return true
}

// Remove takes out all keys of a name, and says how many they were.
func (s *Set) Remove(name string) int {
	before := len(s.members)
	s.members = slices.DeleteFunc(s.members, func(m Member) bool { return m.Name == name })
	return before - len(s.members)
}

// Name is what the set calls a key; empty for one that it does not have.
func (s *Set) Name(key Key) string {
	for _, m := range s.members {
		if m.Key == key {
			return m.Name
		}
	}
	return ""
}

var (
	// ErrUnsigned says that nobody signed a result.
	ErrUnsigned = errors.New("nobody signed it")

	// ErrUntrusted says that somebody signed a result who is not in the set.
	ErrUntrusted = errors.New("the signer is not trusted")
)

// Check is the name of the member who signed a manifest. The error is
// ErrUnsigned, ErrUntrusted, or says what is wrong with the signature.
func (s *Set) Check(manifest artifacts.Digest, signature []byte) (signer string, err error) {
	if len(signature) == 0 {
		return "", ErrUnsigned
	}
	key, err := Verify(manifest, signature)
	if err != nil {
		return "", err
	}
	if name := s.Name(key); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("%w: %s", ErrUntrusted, key)
}

// maxSet bounds the file of a set in bytes: thousands of members.
const maxSet = 1 << 20

// ReadSet reads a file of lines "NAME KEY"; # begins a comment. No file is the
// empty set. An error names the file and all lines that are wrong.
func ReadSet(path string) (*Set, error) {
	set := &Set{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return set, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading who is trusted: %w", err)
	}
	defer f.Close()
	var wrong []error
	lines := bufio.NewScanner(io.LimitReader(f, maxSet))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		member, err := ParseMember(line)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w", path, n, err))
			continue
		}
		set.Add(member)
	}
	if err := errors.Join(append(wrong, lines.Err())...); err != nil {
		return nil, err
	}
	return set, nil
}
