package web

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// startNginx starts an nginx with the configuration that users are shown, and
// returns its address with the credentials of who may write. With a certificate
// it speaks TLS and HTTP/2.
func startNginx(t testing.TB, certificate *certificate) (address string) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not on the path of everybody
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("nginx is not installed (see .ci/test-servers)")
		}
		t.Skip("nginx is not installed")
	}
	dir, port := t.TempDir(), freePort(t)
	site, err := os.ReadFile("testdata/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	scheme, listen := "http", fmt.Sprintf("listen 127.0.0.1:%d;", port)
	if certificate != nil {
		scheme = "https"
		listen = fmt.Sprintf("listen 127.0.0.1:%d ssl http2; ssl_certificate %s; ssl_certificate_key %s;", port, certificate.file, certificate.keyFile)
	}
	replaced := strings.NewReplacer("listen 8080;", listen, "/srv/prismflow", dir).Replace(string(site))
	writeFile(t, filepath.Join(dir, "users"), "writer:{PLAIN}secret\n")
	for _, sub := range []string{"data", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "nginx.conf")
	writeFile(t, config, fmt.Sprintf(nginxMain, user(), dir, replaced))
	start(t, fmt.Sprintf("127.0.0.1:%d", port), exec.Command(program, "-p", dir, "-c", config, "-e", "stderr"))
	return fmt.Sprintf("%s://writer:secret@127.0.0.1:%d", scheme, port)
}

// nginxMain is what an installed nginx has around the file of a site.
const nginxMain = `
%[1]s
daemon off;
worker_processes 2;
pid %[2]s/nginx.pid;
error_log stderr error;
events { worker_connections 512; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 10000;
    client_body_temp_path %[2]s/tmp;
    proxy_temp_path %[2]s/tmp; fastcgi_temp_path %[2]s/tmp; uwsgi_temp_path %[2]s/tmp; scgi_temp_path %[2]s/tmp;
    %[3]s
}
`

// user keeps nginx's workers from becoming somebody who may not write to the
// test's directory.
func user() string {
	if os.Getuid() == 0 {
		return "user root;"
	}
	return ""
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// start starts a server, waits until it listens, and ends it with the test.
func start(t testing.TB, address string, server *exec.Cmd) {
	t.Helper()
	var output strings.Builder
	server.Stdout, server.Stderr = &output, &output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
		if output.Len() > 0 {
			t.Logf("%s: %s", server.Path, output.String())
		}
	})
	for range 2400 { // two minutes: machines may be loaded
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not listen on %s", server.Path, address)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, address string, opts Options) *Driver {
	t.Helper()
	d, err := New(address, opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// acquainted is a driver that has learnt what the server can do.
func acquainted(t testing.TB, address string, opts Options) *Driver {
	t.Helper()
	d := open(t, address, opts)
	name := "ac/" + artifacts.DigestOf([]byte(t.Name())).Hex()
	for range 2 { // the second one may be refused, which shows that the server looks
		if err := d.Write(t.Context(), name, remotetest.Bytes([]byte{1}), true); err != nil && !d.Traits().Conditional {
			t.Fatal(err)
		}
	}
	if _, err := d.Stat(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNginxDriver(t *testing.T) {
	for name, certificate := range map[string]*certificate{"HTTP/1.1": nil, "HTTP/2": newCertificate(t)} {
		t.Run(name, func(t *testing.T) {
			address := startNginx(t, certificate)
			remotetest.Run(t, func(t *testing.T) remote.Driver {
				d := acquainted(t, address, certificate.options())
				if want := (remote.Traits{Ranges: true}); d.Traits() != want {
					t.Fatalf("traits %+v, want %+v", d.Traits(), want)
				}
				if d.learnt.impatient.Load() != (certificate != nil) {
					t.Fatal("spoken is not what was to be spoken")
				}
				return d
			})
		})
	}
}

func TestNginxStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) artifacts.Store {
		return openStore(t, startNginx(t, nil), Options{})
	})
}

// With the configuration that users are shown everybody reads, and writes who is
// known.
func TestNginxKnowsWhoMayWrite(t *testing.T) {
	address := startNginx(t, nil)
	if err := put(blob, true)(t.Context(), open(t, address, Options{})); err != nil {
		t.Fatalf("who may: %v", err)
	}
	anonymous := strings.Replace(address, "writer:secret@", "", 1)
	for what, place := range map[string]string{"nobody": anonymous, "somebody else": strings.Replace(address, "secret", "guess", 1)} {
		d := open(t, place, Options{})
		if err := put(page, true)(t.Context(), d); !errors.Is(err, remote.ErrForbidden) {
			t.Errorf("%s writes: %v, want ErrForbidden", what, err)
		}
		if err := whole(t.Context(), d); err != nil && what == "nobody" {
			t.Errorf("%s reads: %v", what, err)
		}
	}
}
