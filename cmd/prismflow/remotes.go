package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/cloud"
	"github.com/prismflow/prismflow/artifacts/remote/fileshare"
	"github.com/prismflow/prismflow/artifacts/remote/web"
	"github.com/prismflow/prismflow/artifacts/tiered"
	"github.com/prismflow/prismflow/artifacts/trust"
	"github.com/prismflow/prismflow/pipelines"
)

// noRemotes in the place of a remote's URL switches all of them off.
const noRemotes = "none"

func registerRemote(cmd *cobra.Command, remotes *[]string) {
	cmd.Flags().StringArrayVar(remotes, "remote", nil, "share results through the cache at `URL` instead of $PRISMFLOW_REMOTE and those of the files (repeatable; none: share nothing)")
	completeFlag(cmd, "remote", completeRemotes)
}

// completeRemotes offers the ways in which a remote's URL begins.
func completeRemotes(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{
		cobra.CompletionWithDesc("file://", "a mounted share"), cobra.CompletionWithDesc("s3://", "a bucket of S3 or a compatible server"),
		cobra.CompletionWithDesc("gs://", "a bucket of Google Cloud Storage"), cobra.CompletionWithDesc("azblob://", "a container of Azure"),
		cobra.CompletionWithDesc("https://", "a cache server"), cobra.CompletionWithDesc(noRemotes, "share nothing"),
	}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// chooseRemotes are the remotes in the order in which they are asked: those of
// the command line; without any, those of the environment; without any there,
// those of the pipeline and then of the user's settings. Pipeline may be nil.
func chooseRemotes(flags []string, pipeline *pipelines.Pipeline, settings userSettings, s *streams) ([]pipelines.Remote, error) {
	if len(flags) > 0 {
		return parseRemotes("--remote", flags, s)
	}
	if given := strings.Fields(s.env("PRISMFLOW_REMOTE")); len(given) > 0 {
		return parseRemotes("PRISMFLOW_REMOTE", given, s)
	}
	var chosen []pipelines.Remote
	if pipeline != nil {
		chosen = slices.Clone(pipeline.Cache.Remotes)
	}
	for _, own := range settings.Cache.Remotes {
		same := func(r pipelines.Remote) bool { return r.URL == own.URL }
		if i := slices.IndexFunc(chosen, same); i >= 0 {
			chosen[i] = own // which may have a token, and other limits
			continue
		}
		chosen = append(chosen, own)
	}
	return chosen, nil
}

func parseRemotes(from string, texts []string, s *streams) ([]pipelines.Remote, error) {
	if len(texts) == 1 && texts[0] == noRemotes {
		return nil, nil
	}
	var parsed []pipelines.Remote
	var wrong []error
	for _, text := range texts {
		r, err := pipelines.ParseRemote(text, s.dir)
		if text == noRemotes {
			err = fmt.Errorf("%s stands alone", noRemotes)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", from, err))
			continue
		}
		if !slices.ContainsFunc(parsed, func(p pipelines.Remote) bool { return p.URL == r.URL }) {
			parsed = append(parsed, r)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, usageError{err}
	}
	return parsed, nil
}

// openRemote opens a remote, which asks nobody yet. Warn hears of a token that is
// missing.
func openRemote(r pipelines.Remote, warn func(string), s *streams) (*remote.Store, error) {
	driver, err := openDriver(r, warn, s)
	if err != nil {
		return nil, prefixed("remote "+r.Public()+": ", err)
	}
	return remote.New(driver, remote.Options{Parallel: r.Parallel, Bandwidth: r.Bandwidth, Timeout: r.Timeout, MinRate: r.MinRate})
}

// prefixed is an error that begins so: many errors of remotes do by themselves.
func prefixed(prefix string, err error) error {
	if strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	return fmt.Errorf("%s%w", prefix, err)
}

func openDriver(r pipelines.Remote, warn func(string), s *streams) (remote.Driver, error) {
	scheme, _, _ := strings.Cut(r.URL, "://")
	switch scheme {
	case "file":
		return fileshare.New(r.URL)
	case "http", "https":
		driver, err := web.New(r.URL, web.Options{Token: token(r, warn, s), AllowPlain: r.PlainCredentials, CAFile: r.CA, Parallel: r.Parallel})
		if errors.Is(err, web.ErrPlain) {
			err = fmt.Errorf("%w%s", err, howPlain)
		}
		return driver, err
	}
	return cloud.Open(r.URL, cloud.Options{LookupEnv: s.lookupEnv})
}

// howPlain says what to do about web.ErrPlain.
const howPlain = ", or, if you trust everybody on the way, say plain_credentials = true for it in your settings (#plain_credentials=true behind its URL in PRISMFLOW_REMOTE and --remote)"

// token is the bearer token for a remote; empty for none. One for all remotes,
// $PRISMFLOW_TOKEN, goes only where the user said so: a pipeline file that
// somebody else wrote gets the one that is for the server that it names, if it is
// not that file that says how to know the server.
func token(r pipelines.Remote, warn func(string), s *streams) string {
	if r.TokenEnv != "" {
		value := s.env(r.TokenEnv)
		if value == "" {
			warn(fmt.Sprintf("remote %s: the variable %s, which has its token, is not set", r.Public(), r.TokenEnv))
		}
		return value
	}
	if name := r.HostVariable(); name != "" && s.env(name) != "" {
		if r.FromPipeline && r.CA != "" {
			warn(fmt.Sprintf("remote %s: the token in %s is not sent, since the pipeline file says by which certificates (ca) the server is known: name the remote in your settings", r.Public(), name))
			return ""
		}
		return s.env(name)
	}
	if u, err := url.Parse(r.URL); err != nil || u.User != nil || r.FromPipeline {
		return ""
	}
	return s.env("PRISMFLOW_TOKEN")
}

// sharing are the remotes of a command and whom it believes.
type sharing struct {
	circle circle
	cache  *tiered.Cache // nil: nobody is asked
	chosen int           // how many remotes are named, also where none of them is one that the command is for
	names  []string      // of the remotes that were opened

	unopened int // remotes that were to be, and could not
}

// sharingOptions are how a command shares.
type sharingOptions struct {
	tiered.Options // Warn, where warnings do not just go to stderr, and Recheck

	choose func([]pipelines.Remote) []pipelines.Remote // of the remotes that there are; nil: all
}

// open opens remotes. One that cannot be opened is warned of and left out:
// sharing never fails a run.
func (h *sharing) open(chosen []pipelines.Remote, o sharingOptions, local *disk.Store, s *streams) (err error) {
	options := o.Options
	if options.Warn == nil {
		options.Warn = func(message string) { s.err.printf("warning: %s\n", message) }
	}
	h.chosen = len(chosen)
	if o.choose != nil {
		chosen = o.choose(chosen)
	}
	var opened []tiered.Remote
	for _, r := range chosen {
		store, err := openRemote(r, options.Warn, s)
		if err != nil {
			options.Warn(fmt.Sprintf("%v; it is not asked", err))
			h.unopened++
			continue
		}
		opened = append(opened, tiered.Remote{Store: store, ReadOnly: r.ReadOnly, Upload: tiered.UploadPolicy(r.Upload)})
		h.names = append(h.names, store.String())
	}
	if len(opened) == 0 {
		return nil
	}
	if message := h.circle.ofUnknown(); message != "" {
		s.err.printf("warning: %s\n", message) // Warn is for what is wrong with remotes
	}
	if !h.circle.anybody {
		options.Trusted = h.circle.set.Check
	}
	options.Signer, options.Now = h.circle.signer(), s.now
	h.cache, err = tiered.New(local, opened, options)
	return err
}

// signer is what signs results as they are computed; nil for none.
func (c circle) signer() artifacts.Signer {
	if c.own == nil {
		return nil
	}
	return c.own
}

// ended takes note that a run has ended the remotes.
func (h *sharing) ended() { h.cache = nil }

// close ends the remotes of a command that did not: what is still to be sent is
// left to the next run.
func (h *sharing) close() {
	if h.cache == nil {
		return
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	h.cache.Finish(over, false, nil)
}

// signedBy says for people who signed the result under a key; nothing of one that
// nobody did.
func (c circle) signedBy(ctx context.Context, store artifacts.Store, key artifacts.Key) string {
	record, err := artifacts.LookupRecord(ctx, store, key)
	if err != nil || len(record.Signature) == 0 {
		return ""
	}
	signer, err := trust.Verify(artifacts.DigestOf(record.Encoded), record.Signature)
	if err != nil {
		return "nobody: " + err.Error()
	}
	if name := c.set.Name(signer); name != "" {
		return name
	}
	return string(signer) + ", whom you have no name for"
}
