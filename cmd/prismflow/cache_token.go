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
  prismflow cache token --name laptop`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runCacheToken(o, s) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "whose it is, for logs: `NAME` (default: the user's)")
	flags.StringVar(&o.role, "role", "read", "what it is good for: `ROLE`, read or read-write")
	flags.StringVar(&o.add, "add", "", "add it to the token file `FILE`, which is made where there is none")
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
	if o.add == "" {
		secret, line, err := server.NewToken(name, role)
		if err != nil {
			return err
		}
		s.out.printf("%s\n", secret)
		s.err.printf("the line for the token file of \"prismflow cache serve\":\n")
		s.out.printf("%s\n", line)
		return nil
	}
	secret, err := server.AddToken(s.path(o.add), name, role)
	if err != nil {
		return fmt.Errorf("adding a token: %w", err)
	}
	s.out.printf("%s\n", secret)
	s.err.printf("%s may %s; only its hash is in %s\n", name, role, o.add)
	return nil
}
