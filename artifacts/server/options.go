package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// Options are the choices of a Server. Of the zero value only Tokens or Anonymous
// must be set for anybody to be let in.
type Options struct {
	// Tokens says who may do what. nil: nobody has a token.
	Tokens *Tokens

	// Anonymous is what those without a token may do.
	Anonymous Role

	// MaxBlob is the size in bytes of the largest blob that is taken. 0 means
	// DefaultMaxBlob.
	MaxBlob int64

	// MaxBytes is the size that the store is kept at: above it, what was used
	// longest ago goes, down to nine tenths of it; nothing is taken that would
	// bring it, with all that is coming in, a tenth above it. 0 is no bound.
	MaxBytes int64

	// Keep says what stays whatever MaxBytes is, as disk.GCOptions has it. nil:
	// nothing.
	Keep func(context.Context) ([]disk.Keep, error)

	// MaxClients is how many requests are served at once. One more is told to
	// come back, and so is a client that has as many as are free. 0 means
	// DefaultMaxClients.
	MaxClients int

	// Stall is how long a transfer may take for each slab of slabBytes: a client
	// that is slower is cut off. 0 means DefaultStall.
	Stall time.Duration

	// Grace is how long transfers may go on after Serve was told to end. 0 means
	// DefaultGrace.
	Grace time.Duration

	// NoZstd turns compression on the wire off, both ways: for a network that is
	// faster than the processors.
	NoZstd bool

	// Log hears of each request (level info) and of what went wrong. The zero value
	// is silent.
	Log *zerolog.Logger
}

// Defaults of Options.
const (
	DefaultMaxBlob    = 32 << 30
	DefaultMaxClients = 256
	DefaultStall      = 30 * time.Second
	DefaultGrace      = 30 * time.Second
)

// maxAction is the size in bytes of the largest action that the store takes.
const maxAction = 4 << 20

// Validate says all that is wrong with the options.
func (o Options) Validate() error {
	var wrong []error
	for _, number := range []struct {
		name  string
		value int64
	}{
		{"MaxBlob", o.MaxBlob}, {"MaxBytes", o.MaxBytes}, {"MaxClients", int64(o.MaxClients)},
		{"Stall", int64(o.Stall)}, {"Grace", int64(o.Grace)},
	} {
		if number.value < 0 {
			wrong = append(wrong, fmt.Errorf("option %s is %d, must not be negative", number.name, number.value))
		}
	}
	if o.Anonymous > ReadWrite {
		wrong = append(wrong, fmt.Errorf("option Anonymous is %d, which is no role", o.Anonymous))
	}
	return errors.Join(wrong...)
}

// withDefaults fills in what was left zero.
func (o Options) withDefaults() Options {
	if o.MaxBlob == 0 {
		o.MaxBlob = DefaultMaxBlob
	}
	if o.MaxBytes > 0 {
		o.MaxBlob = min(o.MaxBlob, o.MaxBytes)
	}
	if o.MaxClients == 0 {
		o.MaxClients = DefaultMaxClients
	}
	if o.Stall == 0 {
		o.Stall = DefaultStall
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Log == nil {
		silent := zerolog.Nop()
		o.Log = &silent
	}
	return o
}
