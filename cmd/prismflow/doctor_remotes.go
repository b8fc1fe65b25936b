package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/trust"
	"github.com/prismflow/prismflow/pipelines"
)

// patience is how long doctor waits for one remote.
const patience = 20 * time.Second

// checkRemotes looks at the remotes that a run would ask, and at whom it would
// believe. The error is that of a pipeline or of settings that are wrong.
func checkRemotes(ctx context.Context, o doctorOptions, s *streams) ([]check, error) {
	settings, err := readSettings(s)
	if err != nil {
		return nil, err
	}
	var pipeline *pipelines.Pipeline
	if o.pipeline != "" {
		if pipeline, err = loadPipeline(o.pipeline, &pipelineOptions{}, s); err != nil {
			return nil, err
		}
	}
	chosen, err := chooseRemotes(o.remotes, pipeline, settings, s)
	if err != nil {
		return nil, err
	}
	var checks []check
	if o.offline {
		chosen = nil
	}
	for _, r := range chosen {
		checks = append(checks, checkRemote(ctx, r, s))
	}
	return append(checks, checkTrust(settings, pipeline, s)), nil
}

// checkRemote asks a remote for what nobody has, and has it take a few bytes.
func checkRemote(ctx context.Context, r pipelines.Remote, s *streams) check {
	c := check{Name: "remote", State: checkMissing, Text: r.Public()}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said []string
	store, err := openRemote(r, func(message string) { said = append(said, message) }, s)
	if err != nil {
		c.Text, c.Remedy = err.Error(), remedyOf(r, err)
		return c
	}
	defer store.Close()
	began := time.Now()
	_, err = store.GetAction(ctx, probeKey())
	took := time.Since(began)
	if err != nil && !errors.Is(err, artifacts.ErrNotFound) {
		c.Text, c.Remedy = err.Error(), remedyOf(r, err)
		return c
	}
	c.Text += fmt.Sprintf(": answers in %s", took.Round(100*time.Microsecond))
	if r.ReadOnly {
		c.State, c.Text = checkOK, c.Text+", read-only as you said"
	} else if err := tryRemote(ctx, store); err != nil {
		c.Text = fmt.Sprintf("%s and takes no uploads: %v", c.Text, err)
		c.Remedy = "get the right to write there, or say that you only read: " + r.Public() + "#mode=read"
	} else {
		c.State, c.Text = checkOK, c.Text+", takes uploads"
	}
	if len(said) > 0 {
		c.State, c.Remedy = checkMissing, strings.Join(said, "\n")
	}
	return c
}

// probe is what doctor leaves on a remote: one small blob, and an action that
// names it.
var probe = []byte("written by prismflow doctor\n")

func probeKey() artifacts.Key { return artifacts.Key(artifacts.DigestOf(probe).Hex()) }

// tryRemote has a remote take a blob and, in place of any, an action: what is
// there already would else say nothing.
func tryRemote(ctx context.Context, store *remote.Store) error {
	d := artifacts.DigestOf(probe)
	if err := store.Put(ctx, d, int64(len(probe)), bytes.NewReader(probe)); err != nil {
		return err
	}
	action := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: "probe", Digest: d, Bytes: int64(len(probe))}}}
	return store.PutAction(ctx, probeKey(), action.Encode(), true)
}

// remedyOf says what to do about a remote that does not answer as it should.
func remedyOf(r pipelines.Remote, err error) string {
	isWeb, isShare := strings.HasPrefix(r.URL, "http"), strings.HasPrefix(r.URL, "file:")
	forbidden := errors.Is(err, remote.ErrForbidden)
	var untrusted x509.UnknownAuthorityError
	switch {
	case errors.As(err, &untrusted):
		return "if it is your team's server, name the certificate of its authority: " + r.Public() + "#ca=FILE, or ca in your settings"
	case forbidden && isWeb && r.HostVariable() != "":
		return "put a token of this server into " + r.HostVariable()
	case forbidden && isShare:
		return "have its owner let you read it: chgrp -R GROUP, chmod -R g+rwX, and chmod g+s for its directories"
	case forbidden:
		return "check the bucket's name, the credentials in the environment, and that they may read there: docs/sharing.md says where they are looked for"
	case isShare:
		return "mount the share, or make the directory for a new one"
	}
	return "check the URL, whether it is http or https, and the network; runs go on without it meanwhile, and --remote none asks nobody"
}

// checkTrust says whose results are taken.
func checkTrust(settings userSettings, pipeline *pipelines.Pipeline, s *streams) check {
	c := check{Name: "trust", State: checkOK}
	circle, err := settings.circle(pipeline, s)
	switch {
	case err != nil:
		c.State, c.Text, c.Remedy = checkMissing, err.Error(), "put it right: until then nothing runs"
		return c
	case circle.anybody:
		c.Text = "results of remotes are taken whoever made them"
	default:
		c.Text = "results of remotes are taken of " + names(circle.set.Members())
	}
	c.Text += "; those that are computed here are not signed"
	if circle.own != nil {
		c.Text = strings.TrimSuffix(c.Text, "not signed") + "signed"
	}
	if message := circle.ofUnknown(); message != "" {
		c.Text += "; " + message
	}
	return c
}

// names lists each member once.
func names(members []trust.Member) string {
	var list []string
	seen := map[string]bool{}
	for _, m := range members {
		if !seen[m.Name] {
			seen[m.Name] = true
			list = append(list, m.Name)
		}
	}
	return strings.Join(list, ", ")
}
