package web

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

var (
	blob     = storetest.Random(1000, 1)
	blobName = "cas/" + artifacts.DigestOf(blob).Hex()
	page     = []byte("<html><body>Welcome to the conference hotel! Room number, please.</body></html>")
	pageName = "cas/" + artifacts.DigestOf(page).Hex()
	acName   = "ac/" + artifacts.DigestOf([]byte("a key")).Hex()
	token    = "s3cr3t-t0ken"
)

// What is asked of a driver.
type call func(ctx context.Context, d *Driver) error

func get(name string, offset, length int64, want []byte) call {
	return func(ctx context.Context, d *Driver) error {
		r, err := d.Read(ctx, name, offset, length)
		if err != nil {
			return err
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("read %d bytes, %.40q, and not the %d that are wanted", len(got), got, len(want))
		}
		return err
	}
}

func stat(name string, want int64) call {
	return func(ctx context.Context, d *Driver) error {
		size, err := d.Stat(ctx, name)
		if err == nil && size != want {
			err = fmt.Errorf("%d bytes and not %d", size, want)
		}
		return err
	}
}

func put(b []byte, ifAbsent bool) call {
	return func(ctx context.Context, d *Driver) error {
		return d.Write(ctx, "cas/"+artifacts.DigestOf(b).Hex(), remotetest.Bytes(b), ifAbsent)
	}
}

// discardRest reads until an error, and returns no error if there is none.
func discardRest(name string) call {
	return func(ctx context.Context, d *Driver) error {
		r, err := d.Read(ctx, name, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
}

var whole, part5to9 = get(blobName, 0, -1, blob), get(blobName, 5, 5, blob[5:10])
