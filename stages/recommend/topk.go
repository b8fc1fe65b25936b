package recommend

import (
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

// TopK is the stage kind recommend.top_k.
type TopK struct {
	Model stages.In[tables.ModelPart] `stage:"model" doc:"a trained model"`
	Split stages.In[SplitRow]         `stage:"split" doc:"what is known of each user"`
	Users stages.In[UserRow]          `stage:"users" doc:"the users' external ids"`
	Items stages.In[train.ItemRow]    `stage:"items" optional:"true" doc:"the items' external ids, for a model that does not hold them"`

	K        int  `stage:"k" default:"10" min:"1" max:"1000000" unit:"items" doc:"for each user, where there are as many"`
	WithSeen bool `stage:"with_seen" default:"false" doc:"whether items that the user has had are recommended"`
	Threads  int  `stage:"threads" default:"2" min:"1" max:"1024" unit:"threads" doc:"inside one operator on the CPU; part of the key, since it changes the last bits of scores"`

	Device stages.Setting[string] `stage:"device" default:"auto" doc:"cpu, cuda, cuda:N, or auto: CUDA where there is a device"`

	Recommendations stages.Out[tables.Recommendation] `stage:"recommendations" doc:"the items for each user, in the order of the split"`
}

// Validate reports what single parameters' bounds cannot say.
func (s *TopK) Validate() []stages.Problem {
	if _, err := gotorch.NewDevice(s.Device.Value); err != nil && s.Device.Value != "auto" {
		return []stages.Problem{{Param: "device", Message: err.Error()}}
	}
	return nil
}

// Run recommends to every user.
func (s *TopK) Run(ctx context.Context, env *stages.Env) error {
	model, err := train.ReadModel(s.Model)
	if err != nil {
		return err
	}
	items, err := ItemIDs(model, s.Items)
	if errors.Is(err, ErrNoItemIDs) {
		return fmt.Errorf("%w: wire the corpus's items into this stage", err)
	}
	if err != nil {
		return err
	}
	users, err := s.userIDs()
	if err != nil {
		return err
	}
	out, err := s.Recommendations.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	serving := train.Serving{Torch: env.Torch, Device: s.Device.Value, Threads: s.Threads}
	if err := model.Use(ctx, serving, func(served train.Served) error {
		env.Version("libtorch", served.Torch)
		env.Version("device", served.Device)
		l := &lists{stage: s, env: env, model: served, users: users, items: items, out: out.Writer}
		return l.all(ctx)
	}); err != nil {
		return err
	}
	return out.Close()
}

// userIDs are the users' external ids by their internal ones.
func (s *TopK) userIDs() (map[int32]string, error) {
	ids := map[int32]string{}
	for row, err := range s.Users.Rows() {
		if err != nil {
			return nil, fmt.Errorf("reading users: %w", err)
		}
		ids[row.ID] = row.User
	}
	return ids, nil
}

// usersAtOnce are given to the model together: enough for a GPU, and few enough
// that their histories and lists are nothing beside the model.
const usersAtOnce = 8192

// lists makes the lists of all users, some users at a time.
type lists struct {
	stage *TopK
	env   *stages.Env
	model train.Served
	users map[int32]string
	items []string
	out   *table.Writer[tables.Recommendation]

	queries                []ranking.Query // of those who are waiting
	done, unknown, entries int64
}

func (l *lists) all(ctx context.Context) error {
	for row, err := range l.stage.Split.Rows() {
		if err != nil {
			return fmt.Errorf("reading the split: %w", err)
		}
		if l.queries = append(l.queries, ranking.Query{User: int(row.User), History: row.history()}); len(l.queries) < usersAtOnce {
			continue
		}
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.env.Count("users", float64(l.done))
	l.env.Count("users_without_history", float64(l.unknown))
	l.env.Count("recommendations", float64(l.entries))
	return nil
}

func (l *lists) flush(ctx context.Context) error {
	best, err := list(ctx, l.model, l.queries, l.stage.K, l.stage.WithSeen)
	if err != nil {
		return err
	}
	for i, q := range l.queries {
		if len(q.History) == 0 {
			l.unknown++
		}
		if err := l.write(int32(q.User), best[i]); err != nil {
			return err
		}
	}
	l.done += int64(len(l.queries))
	l.queries = l.queries[:0]
	l.env.Progress(l.done, int64(len(l.users)), "users")
	return nil
}

func (l *lists) write(user int32, best []ranking.Scored) error {
	name, ok := l.users[user]
	if !ok {
		return fmt.Errorf("the split has a user %d, and the table of users has none: they do not belong together", user)
	}
	for i, b := range best {
		l.entries++
		row := tables.Recommendation{User: name, Rank: int32(i) + 1, Item: l.items[b.Item-1], Score: b.Score}
		if err := l.out.Append(row); err != nil {
			return err
		}
	}
	return nil
}

// list gives each query its list.
func list(ctx context.Context, model train.Served, queries []ranking.Query, k int, withSeen bool) ([][]ranking.Scored, error) {
	best, err := ranking.List(ctx, model.Scorer(), queries, k, ranking.Options{Items: model.Items, FilterSeen: !withSeen, Workers: 1})
	if err != nil {
		return nil, fmt.Errorf("recommending: %w", err)
	}
	return best, nil
}

// ForHistory is what the model recommends to somebody with this history, internal
// item ids, oldest first: k items, or as many as there are.
func ForHistory(ctx context.Context, model train.Model, at train.Serving, history []int32, k int, withSeen bool) ([]ranking.Scored, error) {
	var best [][]ranking.Scored
	err := model.Use(ctx, at, func(served train.Served) (err error) {
		best, err = list(ctx, served, []ranking.Query{{History: history}}, k, withSeen)
		return err
	})
	if err != nil {
		return nil, err
	}
	return best[0], nil
}
