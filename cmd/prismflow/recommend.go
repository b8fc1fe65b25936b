package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/recommend"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

type recommendOptions struct {
	pipelineOptions
	modelOptions
	stage    string
	user     string
	history  []string
	k        int
	withSeen bool
	json     bool
}

// recommendReport is what `recommend --json` prints.
type recommendReport struct {
	Format   int               `json:"format"`
	Stage    string            `json:"stage"`
	Backbone string            `json:"backbone"`
	User     string            `json:"user,omitempty"`
	History  []string          `json:"history"`
	Score    string            `json:"score"` // what the scores are
	Items    []recommendedItem `json:"items"`
}

type recommendedItem struct {
	Rank  int     `json:"rank"`
	Item  string  `json:"item"`
	Title string  `json:"title"`
	Score float32 `json:"score"`
	Seen  bool    `json:"seen"`
}

const recommendDoc = `Recommend prints what a trained model recommends to a user, or to anybody with a
history of items, oldest first: the items with the highest scores, best first, and
of equal scores the smaller id first. Users and items go by their external ids.

A user's history is all that the split has of them: training, validation and test
items. Items of the history are left out unless --with-seen is given. Somebody who
is not in the data is served by --history; the model must know its items.

Scores are the model's own: dot products, for stosa negative squared distances.
They are no probabilities, and only those of one list compare.

The model is that of the pipeline as it stands, with its parameters (-p), and has
to be in the cache: run the pipeline first. Nothing is computed or downloaded.`

func newRecommendCommand(s *streams) *cobra.Command {
	var o recommendOptions
	cmd := &cobra.Command{
		Use:   "recommend FILE (--user ID | --history ITEM,...)",
		Short: "Print what a trained model recommends to a user",
		Long:  recommendDoc,
		Example: `  prismflow recommend sports.toml --user A1YJEY40YUW4SE
  prismflow recommend sports.toml --history B0000C50K2,B0001VNZVO -k 20
  prismflow recommend demo --stage prism --user A00012 --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(cmd.Flags().Changed("user"), cmd.Flags().Changed("history")); err != nil {
				return err
			}
			return runRecommend(cmd.Context(), args[0], o, s)
		},
	}
	o.pipelineOptions.register(cmd)
	registerStale(cmd, &o.pipelineOptions)
	o.modelOptions.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.stage, "stage", "", "take the model of `STAGE`, where the pipeline trains several")
	flags.StringVar(&o.user, "user", "", "recommend to the user with this external `ID`")
	flags.StringSliceVar(&o.history, "history", nil, "recommend to somebody who had these `ITEMS`, external ids, oldest first (repeatable)")
	flags.IntVarP(&o.k, "number", "k", 10, "print `N` items")
	flags.BoolVar(&o.withSeen, "with-seen", false, "also recommend items of the history")
	registerJSON(cmd, &o.json, "print one JSON object")
	completeFlag(cmd, "stage", completeTrainStages)
	return cmd
}

func (o *recommendOptions) validate(user, history bool) error {
	switch {
	case user == history:
		return usageError{errors.New("say to whom: --user ID, or --history ITEM,ITEM,…")}
	case history && len(o.history) == 0:
		return usageError{errors.New("--history: name at least one item; to somebody without any a model of sequences has nothing to say")}
	case o.k < 1:
		return usageError{fmt.Errorf("-k %d: give 1 or more", o.k)}
	}
	return o.modelOptions.validate()
}

func runRecommend(ctx context.Context, file string, o recommendOptions, s *streams) (err error) {
	o.offline = true // what is at hand serves, also where a run would ask for more
	w, err := openWorkspace(file, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	spec, err := w.trainStage(o.stage)
	if err != nil {
		return err
	}
	wired, err := w.wiringOf(spec)
	if err != nil {
		return err
	}
	files, err := w.filesOf(ctx, wired, o.stale)
	if err != nil {
		return err
	}
	r := recommender{options: o, wired: wired, files: files}
	if err := r.open(); err != nil {
		return describeUnknown(err)
	}
	torch, err := torchOptions("", s)
	if err != nil {
		return err
	}
	report, err := r.report(ctx, train.Serving{Torch: torch, Device: o.device, Threads: o.threads})
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	return report.write(s)
}

// describeUnknown marks the errors about ids of the command line.
func describeUnknown(err error) error {
	if errors.As(err, new(*recommend.UnknownError)) {
		return usageError{err}
	}
	return err
}

// A recommender is one call of the command.
type recommender struct {
	options recommendOptions
	wired   wiring
	files   servedFiles

	model   train.Model
	items   []string // external ids, that of item i at i-1
	history []int32
}

// open reads the model, what its items are called, and the history.
func (r *recommender) open() (err error) {
	if r.model, err = train.ReadModel(stages.FromFile[tables.ModelPart](r.files.model)); err != nil {
		return err
	}
	if r.items, err = itemIDsOf(r.model, r.wired, r.files); err != nil {
		return err
	}
	if r.options.user == "" {
		r.history, err = recommend.InternalIDs(r.items, r.options.history)
		return err
	}
	r.history, err = r.historyOfUser()
	return err
}

// itemIDsOf are the external ids of a model's items, or an error that says what
// is needed to know them.
func itemIDsOf(model train.Model, wired wiring, files servedFiles) ([]string, error) {
	items := files.items
	if model.ItemIDs != nil {
		items = "" // the model knows best
	}
	ids, err := recommend.ItemIDs(model, stages.FromFile[train.ItemRow](items))
	if errors.Is(err, recommend.ErrNoItemIDs) {
		return nil, fmt.Errorf("%w, and no stage behind %s has a table of them: wire items into stage %s, such as items = \"corpus.items\", and run it again",
			err, wired.split, wired.model.Stage)
	}
	return ids, err
}

func (r *recommender) historyOfUser() ([]int32, error) {
	if r.files.users == "" {
		return nil, usageError{fmt.Errorf("no stage behind %s has a table of users, so nobody is known by an external id: give --history", r.wired.split)}
	}
	id, err := recommend.UserID(stages.FromFile[recommend.UserRow](r.files.users), r.options.user)
	if err != nil {
		return nil, err
	}
	history, err := recommend.History(stages.FromFile[recommend.SplitRow](r.files.split), id)
	if err == nil && len(history) == 0 {
		return nil, fmt.Errorf("user %q is not in %s, which leaves out users with too short histories: give --history", r.options.user, r.wired.split)
	}
	return history, err
}

func (r *recommender) report(ctx context.Context, at train.Serving) (recommendReport, error) {
	report := recommendReport{
		Format: 1, Stage: r.wired.model.Stage, Backbone: r.model.Config.Backbone, User: r.options.user,
		Score: backbone.ScoreName(r.model.Config.Backbone), History: []string{}, Items: []recommendedItem{},
	}
	for _, item := range r.history {
		if int(item) > len(r.items) {
			return report, fmt.Errorf("%s has an item %d, and the model %d items: they do not belong together", r.wired.split, item, len(r.items))
		}
		report.History = append(report.History, r.items[item-1])
	}
	best, err := recommend.ForHistory(ctx, r.model, at, r.history, r.options.k, r.options.withSeen)
	if err != nil {
		return report, err
	}
	names := make([]string, len(best))
	for i, b := range best {
		names[i] = r.items[b.Item-1]
	}
	titles, err := titlesOf(r.files.items, names)
	if err != nil {
		return report, err
	}
	for i, b := range best {
		report.Items = append(report.Items, recommendedItem{
			Rank: i + 1, Item: names[i], Title: titles[names[i]], Score: b.Score, Seen: slices.Contains(r.history, b.Item),
		})
	}
	return report, nil
}

func (r recommendReport) write(s *streams) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, item := range r.Items {
		fmt.Fprintf(w, "%d\t%s\t%.4f", item.Rank, printable(item.Item), item.Score)
		if item.Seen {
			fmt.Fprint(w, "\t(seen)")
		}
		if item.Title != "" {
			fmt.Fprint(w, "\t"+printable(item.Title))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	of := "this history"
	if r.User != "" {
		of = "user " + printable(r.User)
	}
	s.err.printf("%s for %s (%s known), by stage %s; scores are the model's (%s), no probabilities\n",
		count(len(r.Items), "item"), of, count(len(r.History), "item"), r.Stage, r.Score)
	return nil
}

// printable is text from data with nothing that would change a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// completeTrainStages offers the stages that train models.
func completeTrainStages(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	if pipeline := pipelineOf(args); pipeline != nil {
		for _, spec := range pipeline.Stages {
			if spec.Kind == trainKind {
				found = append(found, spec.Name)
			}
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
