package split

import "github.com/prismflow/prismflow/stages"

// future counts the test answers from before something that is trained on of
// other users. Nobody who recommended at the time of such an answer could have
// learned from that; see Ji et al., "A Critical Study on Data Leakage in
// Recommender System Offline Evaluation", TOIS 2023.
type future struct {
	timed   bool         // some sequence has times
	newest  [2]trainedOn // the newest training of all, and that of all other users
	answers []trainedOn  // user and time of each test answer
}

type trainedOn struct {
	user int32
	time int64
}

// add takes one user's sequence, of which the first train are trained on and
// the last test are the test answers.
func (f *future) add(s sequence, train, test int) {
	f.timed = f.timed || s.timed()
	n := len(s.Items)
	for _, t := range s.Timestamps[n-test:] {
		f.answers = append(f.answers, trainedOn{s.User, t})
	}
	if train == 0 {
		return
	}
	switch own := (trainedOn{s.User, s.Timestamps[train-1]}); {
	case f.newest[0].user == 0 || own.time > f.newest[0].time:
		f.newest[0], f.newest[1] = own, f.newest[0]
	case f.newest[1].user == 0 || own.time > f.newest[1].time:
		f.newest[1] = own
	}
}

// early is the number of answers that are older than training of another user.
func (f *future) early() int {
	n := 0
	for _, answer := range f.answers {
		others := f.newest[0]
		if others.user == answer.user {
			others = f.newest[1]
		}
		if others.user != 0 && others.time > answer.time {
			n++
		}
	}
	return n
}

// report counts them, and warns where there are any.
func (f *future) report(env *stages.Env) {
	if !f.timed {
		env.Log.Info().Msg("the sequences have positions and no times, so it is not judged whether training is later than the test answers")
		return
	}
	early := f.early()
	env.Count("test_answers_before_training", float64(early))
	if early > 0 {
		env.Log.Warn().Int("answers", early).Float64("share", float64(early)/float64(len(f.answers))).
			Msg("test answers are older than training interactions of other users, so the model learns from their future; split.temporal does not")
	}
}
