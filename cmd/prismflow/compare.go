package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/stages/compare"
)

type compareOptions struct {
	pipelineOptions
	measures []string
	level    float64
	draws    int
	seed     uint64
	anyway   bool
	json     bool
}

const compareDoc = `Compare puts evaluations side by side. What it compares is

  RUN             a past run, by the beginning of its name in "prismflow runs";
                  last is the newest, last~1 the one before, and so on
  FILE            a pipeline file: the newest results of its evaluate stages,
                  with -p those of these parameters
  sweep:NAME      the points of a sweep
  sweep:NAME:k=v  those of them that were made with k=v (several: k=v,l=w)

What differs in nothing but parameters called seed is one row: its metrics are
the mean ± the standard deviation over the runs. Baselines are shown once.

Rows are compared by the values of the same users, averaged over a row's runs:
by a Wilcoxon signed-rank test, a paired t-test and a bootstrap interval. The
p-values are corrected by Holm's method for all comparisons of the table, which
are those of all pairs of rows in all --measures. The best row is marked only if
both tests say that it is better than each other row.

What was not measured alike (another split, filter of seen items, rule for ties,
other users, answers or candidates) is not ranked, and neither is what cannot be
true: metrics out of bounds, or other than what the ranks beside them say. The
command then says what it is and ends with exit code 1; with --anyway it shows
the table without tests.`

func newCompareCommand(s *streams) *cobra.Command {
	var o compareOptions
	cmd := &cobra.Command{
		Use:   "compare RUN|FILE|sweep:NAME...",
		Short: "Compare evaluated models",
		Long:  compareDoc,
		Example: `  prismflow compare demo
  prismflow compare sports.toml beauty.toml --anyway
  prismflow compare 20261126-0915 20261126-1130 --measures recall@20,mrr@20
  prismflow compare sweep:backbones --json`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completePipelines,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCompare(cmd.Context(), args, &o, s)
		},
	}
	registerParam(cmd, &o.pipelineOptions)
	registerCache(cmd, &o.cache)
	registerStale(cmd, &o.pipelineOptions)
	flags := cmd.Flags()
	o.registerStatistics(cmd)
	flags.BoolVar(&o.anyway, "anyway", false, "show what was not measured alike, without tests")
	registerJSON(cmd, &o.json, "print one JSON object")
	return cmd
}

// registerStatistics registers what a sweep's table has as well.
func (o *compareOptions) registerStatistics(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&o.measures, "measures", nil, "compare by `MEASURES`, such as recall@20,mrr@20,place (default recall and ndcg at 10, and place, the mean rank)")
	flags.Float64Var(&o.level, "level", 0.95, "`LEVEL` of intervals, and 1 minus that of tests")
	flags.IntVar(&o.draws, "draws", 2000, "draw users `N` times for the bootstrap")
	flags.Uint64Var(&o.seed, "bootstrap-seed", 0, "`SEED` of these draws")
}

func (o *compareOptions) options() (compare.Options, error) {
	options := compare.Options{Level: o.level, Draws: o.draws, Seed: o.seed}
	for _, text := range o.measures {
		measure, err := compare.ParseMeasure(text)
		if err != nil {
			return options, usageError{fmt.Errorf("--measures: %w", err)}
		}
		options.Measures = append(options.Measures, measure)
	}
	if err := options.Validate(); err != nil {
		return options, usageError{err}
	}
	return options, nil
}

func runCompare(ctx context.Context, args []string, o *compareOptions, s *streams) (err error) {
	options, err := o.options()
	if err != nil {
		return err
	}
	c := comparer{options: o, streams: s}
	defer c.closing(&err)
	var measured []*compare.Measurement
	for _, arg := range args {
		subjects, err := c.subjects(ctx, arg)
		if err != nil {
			return err
		}
		for _, subject := range subjects {
			found, err := compare.Read(ctx, subject)
			if err != nil {
				return err
			}
			measured = append(measured, found...)
		}
	}
	report, err := compare.New(measured, options)
	if err != nil {
		return err
	}
	return writeComparison(report, o, s)
}

// writeComparison prints a comparison, or refuses to.
func writeComparison(report compare.Report, o *compareOptions, s *streams) error {
	problems := report.Problems()
	if o.json {
		if err := writeJSON(s.out, report); err != nil {
			return err
		}
	} else {
		writeProblems(problems, s)
		if len(problems) == 0 || o.anyway {
			writeTables(s.out, report, s.colourful(s.out))
		}
	}
	if len(problems) > 0 && !o.anyway {
		return errNotAlike
	}
	return nil
}

var errNotAlike = errors.New("these results must not be ranked; --anyway shows them without ranking")

// mostProblems is how many problems a person wants to see.
const mostProblems = 10

func writeProblems(problems []string, s *streams) {
	for i, problem := range problems {
		if i == mostProblems {
			s.err.printf("… and %d more\n", len(problems)-mostProblems)
			break
		}
		s.err.printf("%s\n", problem)
	}
}
