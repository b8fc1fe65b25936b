package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// A member is a user who shares a cache with others of a group.
type member struct {
	t      *testing.T
	user   *syscall.Credential
	umask  string
	binary string
	checkout,
	cache string
}

// run runs the program as the user, in the user's checkout.
func (m member) run(args ...string) string {
	m.t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `umask "$0" && exec "$@"`, m.umask, m.binary}, args...)...)
	cmd.Dir = m.checkout
	cmd.Env = append(os.Environ(), "HOME="+m.checkout, "USER="+fmt.Sprint(m.user.Uid), "PRISMFLOW_CACHE="+m.cache)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: m.user}
	output, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("user %d: prismflow %s: %v\n%s", m.user.Uid, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// members are users of one group with a checkout each and a cache directory that
// is shared as docs say: chgrp, and chmod g+ws.
func members(t *testing.T, umasks ...string) []member {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can be several users")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "members-") // unlike t.TempDir, for others to enter
	must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(os.Chmod(dir, 0o755))
	binary, cache := filepath.Join(dir, "prismflow"), filepath.Join(dir, "cache")
	must(copyProgram(binary))
	const group = 54320
	must(os.Mkdir(cache, 0o777))
	must(os.Chown(cache, 0, group))
	must(os.Chmod(cache, 0o770|os.ModeSetgid))
	var all []member
	for i, umask := range umasks {
		uid := uint32(54321 + i)
		m := member{t, &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{group}}, umask, binary, filepath.Join(dir, fmt.Sprint(uid)), cache}
		must(os.Mkdir(m.checkout, 0o777))
		chain(t, filepath.Join(m.checkout, "p.toml"), 4, 16)
		must(os.Chown(m.checkout, int(uid), int(uid)))
		must(os.Chmod(m.checkout, 0o700))
		all = append(all, m)
	}
	return all
}

func copyProgram(to string) error {
	from, err := os.Open(os.Args[0])
	if err != nil {
		return err
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	if err != nil {
		return err
	}
	return out.Close()
}

// TestMembersOfAGroup: what one user ran, the others have, whatever their umask
// is, and each may look at, go on with, and tidy up after the others.
func TestMembersOfAGroup(t *testing.T) {
	all := members(t, "022", "077", "027")
	first := all[0]
	first.run("run", "p.toml")
	for _, m := range all[1:] {
		if output := m.run("run", "p.toml"); !strings.Contains(output, "cached 4") {
			t.Errorf("user %d executed what was there:\n%s", m.user.Uid, output)
		}
		m.run("cache", "verify")
		m.run("runs")
	}
	for _, m := range all {
		changed := strings.NewReplacer("100000", fmt.Sprint(100000+m.user.Uid)).Replace(readFile(t, filepath.Join(m.checkout, "p.toml")))
		if err := os.WriteFile(filepath.Join(m.checkout, "p.toml"), []byte(changed), 0o666); err != nil {
			t.Fatal(err)
		}
		m.run("run", "p.toml")
		m.run("cache", "gc", "--max-size", "100kB")
		m.run("run", "p.toml", "--force", "s0")
	}
	first.run("cache", "verify")
	if closed := closedToGroup(t, first.cache); len(closed) > 0 {
		t.Errorf("closed to the group:\n%s", strings.Join(closed, "\n"))
	}
}

func TestDoctorOfASharedCache(t *testing.T) {
	dir := t.TempDir()
	store, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := os.MkdirAll(filepath.Join(dir, "cas", "ab"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode         os.FileMode
		state        string
		text, remedy string
	}{
		{0o755, checkOK, "", ""},
		{0o775 | os.ModeSetgid, checkMissing, "may not write to ", "chmod -R g=u " + dir},
	} {
		if err := os.Chmod(dir, test.mode); err != nil {
			t.Fatal(err)
		}
		c := check{State: checkOK}
		checkSharing(&c, store)
		if c.State != test.state || !strings.Contains(c.Text, test.text) || !strings.Contains(c.Remedy, test.remedy) || (c.Text == "") != (test.text == "") {
			t.Errorf("mode %v: %+v", test.mode, c)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// closedToGroup are the parts of a cache in which the group may do less than the
// owner.
func closedToGroup(t *testing.T, cache string) (closed []string) {
	t.Helper()
	kinds := map[string]int{}
	err := filepath.Walk(cache, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		mode := info.Mode().Perm()
		if mode&0o070 != mode&0o700>>3 {
			closed = append(closed, fmt.Sprint(info.Mode(), " ", path))
		}
		kinds[strings.Split(strings.TrimPrefix(path, cache+"/"), "/")[0]]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"cas", "ac", "state"} {
		if kinds[part] < 2 {
			t.Errorf("nothing in %s (%v): the test tested nothing", part, kinds)
		}
	}
	return closed
}
