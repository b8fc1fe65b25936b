package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/stages/engine"
)

// runsPinReport is what `runs pin --json` and `runs unpin --json` print.
type runsPinReport struct {
	Format int         `json:"format"`
	Runs   []pinnedRun `json:"runs"`
}

type pinnedRun struct {
	Run    string   `json:"run"`
	Pinned bool     `json:"pinned"`
	Gone   []string `json:"gone"` // stages whose results are no longer in the cache
}

const runsPinDoc = `Pin keeps runs: their records, the results of all of their stages, and the
downloads that these read stay in this cache until "prismflow runs unpin",
whatever bounds a gc is given. Pins hold for this cache directory, not for
remotes.

` + runNames

const runsUnpinDoc = `Unpin ends what "prismflow runs pin" began. What a run needs then goes when it
was not used for long, as everything in the cache does.

` + runNames

func newRunsPinCommand(s *streams) *cobra.Command {
	var o runsOptions
	cmd := &cobra.Command{
		Use:     "pin RUN...",
		Short:   "Keep what runs made from being removed",
		Long:    runsPinDoc,
		Example: "  prismflow runs pin last\n  prismflow runs pin 20261126-0930",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRunsPin(cmd.Context(), args, true, o, s)
		},
	}
	o.register(cmd, s)
	return cmd
}

func newRunsUnpinCommand(s *streams) *cobra.Command {
	var o runsOptions
	cmd := &cobra.Command{
		Use:     "unpin RUN...",
		Short:   "Let what pinned runs made be removed again",
		Long:    runsUnpinDoc,
		Example: "  prismflow runs unpin last",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRunsPin(cmd.Context(), args, false, o, s)
		},
	}
	o.register(cmd, s)
	return cmd
}

func runRunsPin(ctx context.Context, names []string, pin bool, o runsOptions, s *streams) error {
	book, err := openRuns(o, s)
	if err != nil {
		return err
	}
	defer book.store.Close()
	records, err := book.findAll(names)
	if err != nil {
		return err
	}
	report := runsPinReport{Format: 1, Runs: []pinnedRun{}}
	for _, record := range records {
		run := pinnedRun{Run: record.Run, Pinned: pin, Gone: []string{}}
		if pin {
			gone, err := engine.Pin(ctx, book.store, record.Run)
			if err != nil {
				return err
			}
			run.Gone = append(run.Gone, gone...)
		} else if err := engine.Unpin(book.store, record.Run); err != nil {
			return err
		}
		report.Runs = append(report.Runs, run)
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	for _, run := range report.Runs {
		if !run.Pinned {
			s.out.printf("run %s is not pinned\n", run.Run)
			continue
		}
		s.out.printf("run %s is pinned: gc leaves what it needs\n", run.Run)
		if len(run.Gone) > 0 {
			s.err.printf("run %s: no longer in the cache are results of %s\n", run.Run, strings.Join(run.Gone, ", "))
		}
	}
	return nil
}
