package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/trust"
)

// trustReport is what `cache trust --json`, and each command below it, prints.
type trustReport struct {
	Format  int           `json:"format"`
	Anybody bool          `json:"anybody"`       // nobody is named: results are taken from remotes whoever signed them, or nobody
	Signs   bool          `json:"signs"`         // results that are computed here are signed
	Key     trust.Key     `json:"key,omitempty"` // the user's own, public
	KeyFile string        `json:"key_file"`      // of the private key
	File    string        `json:"file"`          // of the members that commands add
	Members []trustMember `json:"members"`
}

type trustMember struct {
	Name string    `json:"name"`
	Key  trust.Key `json:"key"`
}

const trustDoc = `Trust says whose results are taken from remotes. As long as nobody is named, all
are: what is downloaded is verified to be what its digests say, and not who made
it. Once somebody is named, a result that none of them signed is computed here
instead, with a warning. Your own key is always among them.

Members are lines NAME KEY in the file trusted beside your settings, and the
list [cache] trusted of your settings and of a pipeline file, so that a team can
keep its members with its pipelines. The private key stays in a file that only
you may read; it is never printed, and never leaves this machine.`

func newCacheTrustCommand(s *streams) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "trust [flags]",
		Short:   "Say whose results are taken from remotes",
		Long:    trustDoc,
		Example: "  prismflow cache trust\n  prismflow cache trust init\n  prismflow cache trust add ann ed25519:…",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runTrust(asJSON, s) },
	}
	registerJSON(cmd, &asJSON, "print one JSON object")
	cmd.AddCommand(newTrustInitCommand(s), newTrustAddCommand(s), newTrustRmCommand(s))
	return cmd
}

func newTrustInitCommand(s *streams) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a key and sign results from now on",
		Long: `Init makes a key of your own, if there is none, and prints its public half as the
line by which others trust you. From then on what is computed here is signed;
"[cache] sign = false" in your settings switches that off.`,
		Example: "  prismflow cache trust init",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runTrustInit(asJSON, s) },
	}
	registerJSON(cmd, &asJSON, "print one JSON object")
	return cmd
}

func newTrustAddCommand(s *streams) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "add NAME KEY",
		Short:   "Take results that somebody signed",
		Long:    "Add names somebody whose results are taken from remotes. A name may have several\nkeys, one for each machine.",
		Example: "  prismflow cache trust add ann ed25519:6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=",
		Args:    cobra.ExactArgs(2),
		RunE:    func(_ *cobra.Command, args []string) error { return runTrustAdd(args[0], args[1], asJSON, s) },
	}
	registerJSON(cmd, &asJSON, "print one JSON object")
	return cmd
}

func newTrustRmCommand(s *streams) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "No longer take results that somebody signed",
		Long: `Rm takes a member with all their keys out of the file beside your settings. What
was downloaded before stays in the cache.`,
		Example: "  prismflow cache trust rm ann",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return runTrustRm(args[0], asJSON, s) },
	}
	registerJSON(cmd, &asJSON, "print one JSON object")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeMembers()
	}
	return cmd
}

// completeMembers offers the names in the file beside the user's settings.
func completeMembers() ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	settings, err := readSettings(&streams{lookupEnv: os.LookupEnv})
	if err != nil || settings.dir == "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	set, err := trust.ReadSet(settings.trustedFile())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, member := range set.Members() {
		found = append(found, cobra.CompletionWithDesc(member.Name, string(member.Key)))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// trustSettings are settings that have a place for keys.
func trustSettings(s *streams) (userSettings, error) {
	settings, err := readSettings(s)
	if err == nil && settings.dir == "" {
		err = errors.New("there is no place for keys: set HOME, or PRISMFLOW_CONFIG to the file of your settings")
	}
	return settings, err
}

func runTrust(asJSON bool, s *streams) error {
	settings, err := trustSettings(s)
	if err != nil {
		return err
	}
	circle, err := settings.circle(nil, s)
	if err != nil {
		return err
	}
	report := trustReport{
		Format: 1, Anybody: circle.anybody, Signs: circle.own != nil,
		KeyFile: settings.keyFile(), File: settings.trustedFile(), Members: []trustMember{},
	}
	if circle.own != nil {
		report.Key = circle.own.Key()
	}
	for _, member := range circle.set.Members() {
		report.Members = append(report.Members, trustMember{member.Name, member.Key})
	}
	if asJSON {
		return writeJSON(s.out, report)
	}
	return report.write(s.out)
}

func (r trustReport) write(to stream) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, member := range r.Members {
		end := ""
		if member.Key == r.Key {
			end = "  (you)"
		}
		fmt.Fprintf(w, "%s\t%s%s\n", member.Name, member.Key, end)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Anybody {
		to.printf("results are taken from remotes whoever made them, unless a pipeline file names somebody: \"prismflow cache trust add NAME KEY\" does for all\n")
	}
	if !r.Signs {
		to.printf("results that are computed here are not signed: \"prismflow cache trust init\" makes a key\n")
	}
	return nil
}

func runTrustInit(asJSON bool, s *streams) error {
	settings, err := trustSettings(s)
	if err != nil {
		return err
	}
	if sign := settings.Cache.Sign; sign != nil && !*sign {
		return usageError{errors.New("the settings say sign = false: take that out first")}
	}
	signer, err := trust.ReadSigner(settings.keyFile())
	if errors.Is(err, trust.ErrNoKey) {
		signer, err = makeKey(settings)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return runTrust(true, s)
	}
	s.out.printf("results that are computed here are signed from now on; your public key is\n\n  %s\n\n", signer.Key())
	s.out.printf("others take them after\n\n  prismflow cache trust add %s %s\n\nor with a line in the team's pipeline file\n\n  [cache]\n  trusted = [%q]\n",
		ownName(s), signer.Key(), trust.Member{Name: ownName(s), Key: signer.Key()})
	return nil
}

// makeKey writes a new key. Of two processes that do at once, both use the first.
func makeKey(settings userSettings) (*trust.Signer, error) {
	signer, err := trust.NewSigner(rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(settings.keyFile()), 0o700); err != nil {
		return nil, fmt.Errorf("making a place for the key: %w", err)
	}
	if err := signer.WriteFile(settings.keyFile()); errors.Is(err, fs.ErrExist) {
		return trust.ReadSigner(settings.keyFile())
	} else if err != nil {
		return nil, err
	}
	return signer, nil
}

func runTrustAdd(name, key string, asJSON bool, s *streams) error {
	settings, err := trustSettings(s)
	if err != nil {
		return err
	}
	member, err := trust.ParseMember(name + " " + key)
	if err != nil {
		return usageError{err}
	}
	added, err := trust.AddToFile(settings.trustedFile(), member)
	switch {
	case err != nil:
		return err
	case asJSON:
		return runTrust(true, s)
	case !added:
		s.out.printf("that key is trusted already\n")
		return nil
	}
	s.out.printf("results that %s signed are taken from remotes\n", member.Name)
	return nil
}

func runTrustRm(name string, asJSON bool, s *streams) error {
	settings, err := trustSettings(s)
	if err != nil {
		return err
	}
	before, err := settings.named()
	if err != nil {
		return err
	}
	removed, err := trust.RemoveFromFile(settings.trustedFile(), name)
	if err != nil {
		return err
	}
	left, err := settings.named()
	if err != nil {
		return err
	}
	still := stillNamed(name, before, left)
	switch {
	case still != "":
		return usageError{fmt.Errorf("%s is trusted still, as %s, by [cache] trusted in %s: take that line out, too", name, still, settings.path)}
	case removed == 0:
		return usageError{fmt.Errorf("%s has nobody of the name %q", settings.trustedFile(), name)}
	case asJSON:
		return runTrust(true, s)
	}
	s.out.printf("%s of %s taken out\n", count(removed, "key"), name)
	if len(left.Members()) == 0 {
		s.out.printf("nobody is named any more: results are taken from remotes whoever made them\n")
	}
	return nil
}

// stillNamed is what those who are left call somebody of whom a name was taken out:
// by that name or, with one of the keys that it had before, by another.
func stillNamed(name string, before, left *trust.Set) string {
	for _, member := range left.Members() {
		if member.Name == name || before.Name(member.Key) == name {
			return member.Name
		}
	}
	return ""
}
