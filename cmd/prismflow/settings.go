package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts/trust"
	"github.com/prismflow/prismflow/pipelines"
)

// userSettings are what the user set for all pipelines.
type userSettings struct {
	pipelines.Settings
	dir string // of the settings' file and what lies beside it; empty where there is none
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
	return userSettings{settings, filepath.Dir(path)}, err
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
}

// circle are those whom the user's files and the pipeline name, and the user. A
// pipeline may be nil.
func (u userSettings) circle(pipeline *pipelines.Pipeline, s *streams) (circle, error) {
	c := circle{set: &trust.Set{}}
	var err error
	if c.own, err = u.signer(); err != nil {
		return c, err
	}
	if u.dir != "" {
		if c.set, err = trust.ReadSet(u.trustedFile()); err != nil {
			return c, usageError{err}
		}
	}
	named := u.Cache.Trusted
	if pipeline != nil {
		named = append(named[:len(named):len(named)], pipeline.Cache.Trusted...)
	}
	for _, line := range named {
		member, err := trust.ParseMember(line)
		if err != nil { // of 32 bytes, and yet none that anybody could have
			return c, usageError{err}
		}
		c.set.Add(member)
	}
	c.anybody = len(c.set.Members()) == 0
	if c.own != nil {
		c.set.Add(trust.Member{Name: ownName(s), Key: c.own.Key()})
	}
	return c, nil
}

// ownName is what the user is called where no set has a name for their key.
func ownName(s *streams) string {
	if user, _ := identity(s); trust.CheckName(user) == nil {
		return user
	}
	return "me"
}
