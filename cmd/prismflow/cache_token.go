package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/server"
)

// tokenOptions are the flags of `cache token`.
type tokenOptions struct {
	name string
	role string
	add  string
	json bool
}

// tokenReport is what `cache token --json` prints.
type tokenReport struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Role   string `json:"role"`
	Token  string `json:"token"`          // the secret, this once
	Line   string `json:"line,omitempty"` // for the token file, without --add
}

func newCacheTokenCommand(s *streams) *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for the server of a cache",
		Long: `Token makes a random token, for one who may use what "prismflow cache serve"
serves, and prints it: this once, for all that is kept of it is its hash. With
--add the hash goes into the server's token file at once, which a running
server notices; without, the line to put there is printed as well. To take a
token back, remove its line.`,
		Example: `  prismflow cache token --add tokens --name ci --role read-write
  prismflow cache token --name laptop
  prismflow cache token --add tokens --name nightly --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runCacheToken(o, s) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "whose it is, for logs: `NAME` (default: the user's)")
	flags.StringVar(&o.role, "role", "read", "what it is good for: `ROLE`, read or read-write")
	flags.StringVar(&o.add, "add", "", "add it to the token file `FILE`, which is made where there is none")
	registerJSON(cmd, &o.json, "print one JSON object")
	complete(cmd, "role", "read", "read-write")
	return cmd
}

func runCacheToken(o tokenOptions, s *streams) error {
	role, err := server.ParseRole(o.role)
	if err != nil {
		return usageError{fmt.Errorf("--role: %w", err)}
	}
	name := cmp.Or(o.name, s.env("USER"), "somebody")
	if err := server.CheckTokenName(name); err != nil {
		return usageError{fmt.Errorf("--name: %w", err)}
	}
	report := tokenReport{Format: 1, Name: name, Role: role.String()}
	if o.add == "" {
		report.Token, report.Line, err = server.NewToken(name, role)
	} else if report.Token, err = server.AddToken(s.path(o.add), name, role); err != nil {
		err = fmt.Errorf("adding a token: %w", err)
	}
	switch {
	case err != nil:
		return err
	case o.json:
		return writeJSON(s.out, report)
	}
	report.write(o.add, s)
	return nil
}

func (r tokenReport) write(file string, s *streams) {
	s.out.printf("%s\n", r.Token)
	if file == "" {
		s.err.printf("the line for the token file of \"prismflow cache serve\":\n")
		s.out.printf("%s\n", r.Line)
		return
	}
	s.err.printf("%s may %s; only its hash is in %s\n", r.Name, r.Role, file)
}
