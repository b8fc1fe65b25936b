package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// frames starts a server of HTTP/2 that answers each request as it likes, frame
// by frame, and never makes room for more of a body than there is at first.
func frames(t *testing.T, respond func(framer *http2.Framer, stream uint32)) (string, Options) {
	t.Helper()
	c := newCertificate(t)
	pair, err := tls.LoadX509KeyPair(c.file, c.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveFrames(conn, respond)
		}
	}()
	return "https://" + listener.Addr().String(), c.options()
}

func serveFrames(conn net.Conn, respond func(*http2.Framer, uint32)) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = framer.WritePing(true, frame.Data)
		case *http2.HeadersFrame:
			respond(framer, frame.StreamID)
		}
	}
}

// statusFrame answers with a status and nothing else.
func statusFrame(framer *http2.Framer, stream uint32, status string, end bool) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

func TestHTTP2Faults(t *testing.T) {
	for what, row := range map[string]struct {
		respond func(framer *http2.Framer, stream uint32)
		call    call
		is      error // nil: any
		fine    bool  // there is no error
	}{
		"taken, and no room for the rest":   {func(f *http2.Framer, stream uint32) { statusFrame(f, stream, "200", true) }, put(storetest.Random(4<<20, 50), true), nil, true},
		"refused, and no room for the rest": {func(f *http2.Framer, stream uint32) { statusFrame(f, stream, "412", true) }, put(storetest.Random(4<<20, 50), true), remote.ErrExists, false},
		"reset":                             {func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeInternal) }, put(blob, true), nil, false},
		"reset after the status": {func(f *http2.Framer, stream uint32) {
			statusFrame(f, stream, "200", false)
			_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
		}, whole, nil, false},
		"gone away": {func(f *http2.Framer, stream uint32) {
			_ = f.WriteGoAway(0, http2.ErrCodeProtocol, []byte("\x1b[31m"+token))
		}, whole, nil, false},
	} {
		address, opts := frames(t, row.respond)
		opts.Token = token
		d := open(t, address, opts)
		d.learnt.impatient.Store(true) // as after any earlier answer
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := row.call(ctx, d)
		if (err == nil) != row.fine || ctx.Err() != nil || row.is != nil && !errors.Is(err, row.is) {
			t.Errorf("%s: %v, want an answer in time (%v)", what, err, row.is)
		}
		if err != nil && (bytes.Contains([]byte(err.Error()), []byte(token)) || bytes.ContainsRune([]byte(err.Error()), '\x1b')) {
			t.Errorf("%s: %q shows what the server repeats", what, err)
		}
		cancel()
	}
}
