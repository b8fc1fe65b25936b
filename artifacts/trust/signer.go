package trust

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// A Signer signs results with a private key, which it never shows.
type Signer struct {
	private ed25519.PrivateKey
	key     Key
}

var _ artifacts.Signer = (*Signer)(nil)

// NewSigner makes a key of random bytes, which crypto/rand.Reader yields.
func NewSigner(random io.Reader) (*Signer, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return signerOf(seed), nil
}

func signerOf(seed []byte) *Signer {
	private := ed25519.NewKeyFromSeed(seed)
	return &Signer{private, keyOf(private.Public().(ed25519.PublicKey))}
}

// Key is the public key, for those who are to believe the signer.
func (s *Signer) Key() Key { return s.key }

// String is the public key: a Signer that is printed shows no secret.
func (s *Signer) String() string { return string(s.key) }

// GoString is String, for %#v.
func (s *Signer) GoString() string { return s.String() }

// Sign implements artifacts.Signer.
func (s *Signer) Sign(manifest artifacts.Digest) []byte {
	return signature{s.key, ed25519.Sign(s.private, message(manifest))}.encode()
}

// privateHeader begins the file of a private key.
const privateHeader = "prismflow private key v1"

// WriteFile writes the private key into a new file that only its owner may read.
// The error wraps fs.ErrExist when there is one: a key that is lost cannot be
// made again.
func (s *Signer) WriteFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing a private key: %w", err)
	}
	text := privateHeader + "\n" + encoding.EncodeToString(s.private.Seed()) + "\n"
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("writing a private key: %w", err), os.Remove(path))
	}
	return nil
}

// ErrNoKey says that there is no file of a private key.
var ErrNoKey = errors.New("there is no key")

// maxPrivate is far more than the file of a private key has, in bytes.
const maxPrivate = 1 << 10

// ReadSigner reads the private key in a file, which nobody but its owner may be
// able to read or write. The error is ErrNoKey where there is no such file.
func ReadSigner(path string) (*Signer, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a private key: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("private key %s: is not a plain file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("private key %s: others may read or write it (mode %04o); nobody knows who has it: make a new one, or if you are sure, chmod 600 %s",
			path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrivate))
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	encoded, ok := strings.CutPrefix(string(text), privateHeader+"\n")
	if !ok {
		return nil, fmt.Errorf("private key %s: does not begin with %q", path, privateHeader)
	}
	seed, err := decode(strings.TrimSuffix(encoded, "\n"), ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("private key %s: %w", path, err)
	}
	return signerOf(seed), nil
}
