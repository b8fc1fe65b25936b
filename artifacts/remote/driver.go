package remote

import (
	"context"
	"errors"
	"io"
)

// A Driver moves the objects of one remote place. It neither verifies nor
// retries nor limits: a Store does that for all of them. Its methods may be
// called by several goroutines at once, and end soon after their context does.
//
// Names are clean relative paths of at most two parts: letters, digits and dots,
// such as cas/<64 hex digits> and ac/<64 hex digits>.
//
// Errors wrap artifacts.ErrNotFound, ErrExists, ErrForbidden or ErrFull where
// that is the case; any other may pass if one tries again, and may have a method
// RetryAfter() time.Duration that says when the place wants to be asked again. No
// error contains a credential.
type Driver interface {
	// Stat is the size in bytes of an object, or artifacts.ErrNotFound.
	Stat(ctx context.Context, name string) (size int64, err error)

	// Read opens the bytes of an object from offset on, which lies before its end
	// or is 0: length of them, or all to its end if length is negative or reaches
	// behind it. The caller closes it. It yields fewer bytes only with an error
	// other than io.EOF where the medium can tell.
	Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)

	// Write makes an object of what content yields, whole or not at all: nobody
	// sees a part of it, also when ctx ends or the process dies midway. One that
	// is there is replaced, unless ifAbsent is set: then it stays and the error
	// is ErrExists. After any other error the object may be there nevertheless, but
	// not when the content returned an error or ended before its size.
	Write(ctx context.Context, name string, content Content, ifAbsent bool) error

	// Traits are what the place can do.
	Traits() Traits

	// String is the place as people are to see it: its URL without credentials.
	String() string

	// Close ends the use of the driver.
	Close() error
}

// Content is what is to be written. It can be opened more than once, since an
// upload that breaks off is begun anew. Of one whose readers are io.ReaderAt, as
// files are, a store looks at more than the beginning when it decides whether to
// compress.
type Content struct {
	Size int64 // in bytes, exact
	Open func() (io.ReadCloser, error)

	// Sample opens it for a look at its beginning, which is not counted as sent; nil:
	// nobody counts, and Open serves.
	Sample func() (io.ReadCloser, error)
}

// Traits are the abilities of a driver's place that a Store has to know of.
type Traits struct {
	// AnyName says that objects may have other names than cas/<hex> and
	// ac/<hex>. Behind HTTP servers they may not; their drivers compress on the
	// wire by themselves, where the server understands it.
	AnyName bool

	// Ranges says that Read honours offset and length. Otherwise a Store reads
	// objects whole and in one piece.
	Ranges bool

	// Conditional says that ifAbsent is decided by the place itself, so that of
	// two writers one wins. Otherwise a Store looks before it writes.
	Conditional bool
}

var (
	// ErrExists says that an object that was to be written only if it is absent
	// is there.
	ErrExists = errors.New("the object is there already")

	// ErrForbidden says that the remote refuses: credentials are missing, wrong,
	// or not enough. Trying again does not help.
	ErrForbidden = errors.New("the remote refuses access")

	// ErrFull says that the remote takes no more: its disk or quota is full, or
	// the object is larger than it allows. Reading may go on.
	ErrFull = errors.New("the remote is full")

	// ErrUnavailable says that a remote is not asked for now, since it did not
	// answer several times in a row (see Options.Breaker), or wanted to be left alone
	// for longer than the Timeout.
	ErrUnavailable = errors.New("the remote is not asked for now")
)
