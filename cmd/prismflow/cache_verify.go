package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/memo"
)

// cacheVerifyReport is what `cache verify --json` prints.
type cacheVerifyReport struct {
	Format      int  `json:"format"`
	OK          bool `json:"ok"`          // nothing is broken, or all was repaired
	Interrupted bool `json:"interrupted"` // what follows is of a part
	disk.VerifyReport
}

func newCacheVerifyCommand(s *streams) *cobra.Command {
	var o cacheOptions
	repair := false
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Hash everything in the cache again",
		Long: `Verify hashes every blob again, on all cores, and checks that every result has
all of its blobs. With --repair what is broken is taken out, corrupt blobs into
quarantine/ in the cache, to be computed again when it is next needed; of the
rows that stages remember only those that are broken. Runs may go on meanwhile.

Ctrl-C ends it with what it has found until then. The exit code is 3 when
something is broken and stays so.`,
		Example: "  prismflow cache verify\n  prismflow cache verify --repair",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runCacheVerify(cmd.Context(), o, repair, s) },
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "take out what is broken")
	return cmd
}

func runCacheVerify(ctx context.Context, o cacheOptions, repair bool, s *streams) error {
	store, err := openCache(o.cache, "", s)
	if err != nil {
		return err
	}
	defer store.Close()
	line := newProgressLine(s, "", "bytes")
	found, err := store.Verify(ctx, disk.VerifyOptions{
		Repair:   repair,
		Mend:     func(ctx context.Context, key artifacts.Key) (bool, error) { return memo.Mend(ctx, store, key) },
		Progress: line.show,
	})
	line.clear()
	if err != nil && ctx.Err() == nil {
		return cacheError{fmt.Errorf("verifying the cache %s: %w", store.Dir(), err)}
	}
	report := cacheVerifyReport{Format: 1, Interrupted: err != nil, VerifyReport: found}
	report.judge()
	if writeErr := report.write(o, repair, s); writeErr != nil {
		return writeErr
	}
	switch {
	case report.Interrupted:
		return reportedError{ctx.Err()}
	case !report.OK:
		return reportedError{cacheError{errors.New("the cache is damaged")}}
	}
	return nil
}

// judge says whether the cache is well, as far as it was looked at.
func (r *cacheVerifyReport) judge() {
	r.OK = true
	if r.Problems == nil {
		r.Problems = []disk.Problem{}
	}
	for _, problem := range r.Problems {
		r.OK = r.OK && problem.Repaired
	}
}

func (r cacheVerifyReport) write(o cacheOptions, repair bool, s *streams) error {
	if o.json {
		return writeJSON(s.out, r)
	}
	writeVerification(s.out, r, repair)
	return nil
}

func writeVerification(to stream, report cacheVerifyReport, repair bool) {
	left := 0
	for _, problem := range report.Problems {
		end := ""
		if problem.Repaired {
			end = " (taken out)"
		} else {
			left++
		}
		to.printf("%s: %s%s\n", problem.Name, problem.Error, end)
	}
	to.printf("%s, %s, %s: ", count(report.Actions, "result"), count(report.Blobs, "blob"), byteSize(report.Bytes))
	if report.Interrupted {
		to.printf("interrupted; so far ")
	}
	switch {
	case len(report.Problems) == 0:
		to.printf("ok\n")
	case report.OK:
		to.printf("%s repaired\n", count(len(report.Problems), "problem"))
	case repair:
		to.printf("%s, of which %d could not be repaired: the cause is above\n", count(len(report.Problems), "problem"), left)
	default:
		to.printf("%s; \"prismflow cache verify --repair\" takes out what is broken\n", count(len(report.Problems), "problem"))
	}
}
