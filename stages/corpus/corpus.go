package corpus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// Corpus is the stage kind corpus.
type Corpus struct {
	Interactions stages.In[interaction] `stage:"interactions" doc:"raw interactions with external ids"`
	Metadata     stages.In[tables.Item] `stage:"items" optional:"true" doc:"what is known of the items; without it texts and pictures are empty"`

	MinCore     int64    `stage:"min_core" default:"5" min:"1" unit:"interactions" doc:"fewest interactions that a user or an item must have, in what is left"`
	MinUserCore *int64   `stage:"min_user_core" optional:"true" min:"1" unit:"interactions" doc:"the same for users alone; min_core when absent"`
	MinItemCore *int64   `stage:"min_item_core" optional:"true" min:"1" unit:"interactions" doc:"the same for items alone; min_core when absent"`
	MinRating   *float64 `stage:"min_rating" optional:"true" unit:"stars" doc:"lowest rating to keep"`
	From        string   `stage:"from" optional:"true" doc:"day, or time as in RFC 3339, from which on interactions are kept"`
	Until       string   `stage:"until" optional:"true" doc:"day, or time as in RFC 3339, from which on interactions are left out"`
	Duplicates  string   `stage:"duplicates" default:"keep_first" enum:"keep_all,keep_first,keep_last" doc:"which of several interactions of a user with an item to keep"`

	Sequences stages.Out[tables.Sequence]   `stage:"sequences" doc:"one row for each user, by id: items and times, oldest first"`
	Items     stages.Out[tables.CorpusItem] `stage:"items" doc:"one row for each item, by id"`
	Users     stages.Out[tables.User]       `stage:"users" doc:"one row for each user, by id"`
}

// An interaction is what the stage reads of tables.Interaction.
type interaction struct {
	User      string  `arrow:"user" doc:"external user id"`
	Item      string  `arrow:"item" doc:"external item id"`
	Rating    float32 `arrow:"rating" doc:"stars; only min_rating needs it"`
	Timestamp int64   `arrow:"timestamp" doc:"seconds since 1970-01-01 UTC"`
	Row       int64   `arrow:"row" doc:"line in the source; breaks time ties"`
}

// Validate checks the time range.
func (c *Corpus) Validate() []stages.Problem {
	var problems []stages.Problem
	from, err := instant(c.From)
	if err != nil {
		problems = append(problems, stages.Problem{Param: "from", Message: err.Error()})
	}
	until, err := instant(c.Until)
	if err != nil {
		problems = append(problems, stages.Problem{Param: "until", Message: err.Error()})
	}
	if from != nil && until != nil && *from >= *until {
		problems = append(problems, stages.Problem{Param: "until", Message: fmt.Sprintf("must be after from (%s), not %s", c.From, c.Until)})
	}
	return problems
}

// instant reads a day or a time as seconds since 1970, nil when text is empty.
func instant(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			seconds := at.Unix()
			return &seconds, nil
		}
	}
	return nil, fmt.Errorf("must be a day such as 2014-07-23 or a time such as 2014-07-23T00:00:00Z, not %q", text)
}

// userCore is the fewest interactions of a user, and itemCore of an item.
func (c *Corpus) userCore() int64 { return orElse(c.MinUserCore, c.MinCore) }
func (c *Corpus) itemCore() int64 { return orElse(c.MinItemCore, c.MinCore) }

func orElse(value *int64, other int64) int64 {
	if value != nil {
		return *value
	}
	return other
}

// Run reads the interactions and writes sequences, items and users.
func (c *Corpus) Run(ctx context.Context, env *stages.Env) error {
	read, err := c.read(ctx, env)
	if err != nil {
		return err
	}
	events, err := c.reduce(env, read)
	if err != nil {
		return err
	}
	left := number(read, events)
	env.Count("interactions", float64(len(events)))
	env.Count("users", float64(len(left.users)))
	env.Count("items", float64(len(left.items)))
	if err := c.writeUsers(ctx, left); err != nil {
		return err
	}
	return c.writeItems(ctx, env, left)
}

// reduce resolves duplicates and takes the k-core.
func (c *Corpus) reduce(env *stages.Env, read *reading) ([]event, error) {
	read.sort()
	events, repeated := resolve(read.events, len(read.items.list), c.Duplicates)
	env.Count("duplicates", float64(repeated))
	core := kCore(events, len(read.users.list), len(read.items.list), c.userCore(), c.itemCore())
	env.Count("kcore_rounds", float64(core.rounds))
	env.Count("kcore_removed", float64(len(events)-len(core.events)))
	if len(core.events) == 0 {
		return nil, fmt.Errorf("no interaction is left of %d: no users with at least %d and items with at least %d interactions remain; lower %s",
			len(events), c.userCore(), c.itemCore(), c.coreParameters())
	}
	return core.events, nil
}

// coreParameters names what decides on the k-core.
func (c *Corpus) coreParameters() string {
	names := []string{"min_core"}
	if c.MinUserCore != nil {
		names = append(names, "min_user_core")
	}
	if c.MinItemCore != nil {
		names = append(names, "min_item_core")
	}
	if len(names) == 3 {
		names = names[1:] // min_core decides nothing any more
	}
	return strings.Join(names, " or ")
}
