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

	"github.com/prismflow/prismflow/artifacts"
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
	_ = writeStatus(framer, stream, status, end)
}

func writeStatus(framer *http2.Framer, stream uint32, status string, end bool) error {
	var block bytes.Buffer
	if err := hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status}); err != nil {
		return err
	}
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
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
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
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

// forever writes frames until the client has gone or the test is over.
func forever(t *testing.T, write func() error) {
	for t.Context().Err() == nil && write() == nil {
		time.Sleep(time.Millisecond)
	}
}

// Frames of which nothing comes are silence, however many they are, and a server
// that always goes away is left.
func TestHTTP2BusyWithNothing(t *testing.T) {
	for what, respond := range map[string]func(f *http2.Framer, stream uint32){
		"pings": func(f *http2.Framer, _ uint32) {
			forever(t, func() error { return f.WritePing(false, [8]byte{1}) })
		},
		"settings": func(f *http2.Framer, _ uint32) {
			forever(t, func() error { return f.WriteSettings() })
		},
		"room for what nobody sends": func(f *http2.Framer, stream uint32) {
			forever(t, func() error { return f.WriteWindowUpdate(stream, 1) })
		},
		"a header that goes on": func(f *http2.Framer, stream uint32) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}})
			forever(t, func() error { return f.WriteContinuation(stream, false, nil) })
		},
		"a header of any size": func(f *http2.Framer, stream uint32) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}})
			field := append([]byte{0x00, 0x01, 'x', 0x7f, 0x81, 0x7f}, make([]byte, 16<<10-6)...)
			forever(t, func() error { return f.WriteContinuation(stream, false, field) })
		},
		"an empty body": func(f *http2.Framer, stream uint32) {
			statusFrame(f, stream, "200", false)
			forever(t, func() error { return f.WriteData(stream, false, nil) })
		},
		"answers before the answer": func(f *http2.Framer, stream uint32) {
			forever(t, func() error { return writeStatus(f, stream, "103", false) })
		},
		"goodbyes": func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"goodbyes that promise an answer": func(f *http2.Framer, stream uint32) {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel() // they all wait
			address, opts := frames(t, respond)
			s, err := remote.New(open(t, address, opts), remote.Options{Timeout: time.Second, Attempts: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			began := time.Now()
			if _, err := s.GetAction(t.Context(), storetest.Key("http2")); err == nil || errors.Is(err, artifacts.ErrNotFound) {
				t.Errorf("%v, want that it did not answer", err)
			}
			if took := time.Since(began); took > 15*time.Second { // two of a second, on a busy machine
				t.Errorf("it took %v", took)
			}
		})
	}
}
