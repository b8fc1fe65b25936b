package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts/trust"
	"github.com/prismflow/prismflow/pipelines"
)

// userSettings are what the user set for all pipelines.
type userSettings struct {
	pipelines.Settings
	path string // of the settings' file, which need not be there
	dir  string // of that file and what lies beside it; empty where there is none
}

// readSettings reads the user's settings, which are in the file that
// $PRISMFLOW_CONFIG names, else in the user's configuration directory.
func readSettings(s *streams) (userSettings, error) {
	path := s.env("PRISMFLOW_CONFIG")
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return userSettings{}, nil // without a home there is nothing to read
		}
		path = filepath.Join(dir, "prismflow", "config.toml")
	}
	path = s.path(path)
	settings, err := pipelines.LoadSettings(path)
	return userSettings{settings, path, filepath.Dir(path)}, err
}

// trustedFile has a line for everybody whose results the user believes.
func (u userSettings) trustedFile() string { return filepath.Join(u.dir, "trusted") }

// keyFile has the private key that the user signs with.
func (u userSettings) keyFile() string { return filepath.Join(u.dir, "signing.key") }

// signer is what signs the results of this user; nil for one who signs none.
func (u userSettings) signer() (*trust.Signer, error) {
	sign := u.Cache.Sign
	if u.dir == "" || sign != nil && !*sign {
		return nil, nil
	}
	signer, err := trust.ReadSigner(u.keyFile())
	switch {
	case errors.Is(err, trust.ErrNoKey) && sign != nil:
		return nil, usageError{errors.New("the settings say sign = true, and there is no key: \"prismflow cache trust init\" makes one")}
	case errors.Is(err, trust.ErrNoKey):
		return nil, nil
	case err != nil:
		return nil, usageError{err}
	}
	return signer, nil
}

// A circle is whose results are taken from remotes.
type circle struct {
	set     *trust.Set
	own     *trust.Signer // of the user; nil for one who signs nothing
	anybody bool          // nobody is named, so everybody is believed

	// unknown are those whom the pipeline names and the user, who names others, does
	// not: they are not believed.
	unknown []trust.Member
}

// circle are those whom the user's files name, and the user; where they name
// nobody, those whom the pipeline names. A pipeline file may be of a stranger: it
// can narrow down who is believed, and never widen it. A pipeline may be nil.
func (u userSettings) circle(pipeline *pipelines.Pipeline, s *streams) (circle, error) {
	c := circle{set: &trust.Set{}}
	var err error
	if c.own, err = u.signer(); err != nil {
		return c, err
	}
	if c.set, err = u.named(); err != nil {
		return c, err
	}
	if pipeline != nil {
		if err := c.takeIn(pipeline.Cache.Trusted); err != nil {
			return c, err
		}
	}
	c.anybody = len(c.set.Members()) == 0
	if c.own != nil {
		c.set.Add(trust.Member{Name: ownName(s), Key: c.own.Key()})
	}
	return c, nil
}

// named are those whom the user's files name.
func (u userSettings) named() (set *trust.Set, err error) {
	set = &trust.Set{}
	if u.dir != "" {
		if set, err = trust.ReadSet(u.trustedFile()); err != nil {
			return nil, usageError{err}
		}
	}
	own, err := parseMembers(u.Cache.Trusted)
	for _, member := range own {
		set.Add(member)
	}
	return set, err
}

// takeIn adds those whom a pipeline names, if the user names nobody.
func (c *circle) takeIn(lines []string) error {
	members, err := parseMembers(lines)
	if err != nil {
		return err
	}
	decided := len(c.set.Members()) > 0
	for _, member := range members {
		switch {
		case !decided:
			c.set.Add(member)
		case c.set.Name(member.Key) == "":
			c.unknown = append(c.unknown, member)
		}
	}
	return nil
}

func parseMembers(lines []string) (members []trust.Member, err error) {
	for _, line := range lines {
		member, err := trust.ParseMember(line)
		if err != nil { // of 32 bytes, and yet none that anybody could have
			return nil, usageError{err}
		}
		members = append(members, member)
	}
	return members, nil
}

// ofUnknown says how the user can believe those whom the pipeline alone names;
// empty where there are none.
func (c circle) ofUnknown() string {
	if len(c.unknown) == 0 {
		return ""
	}
	first := c.unknown[0]
	return fmt.Sprintf("the pipeline also names %s, whose results are not taken, since your own list decides: \"prismflow cache trust add %s %s\" would add %s",
		names(c.unknown), first.Name, first.Key, first.Name)
}

// ownName is what the user is called where no set has a name for their key.
func ownName(s *streams) string {
	if user, _ := identity(s); trust.CheckName(user) == nil {
		return user
	}
	return "me"
}
