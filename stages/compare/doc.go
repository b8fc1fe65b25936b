// Package compare puts evaluations side by side: which settings differ, how
// good each model is over several seeds, which differences are larger than
// chance, and whether the numbers were measured alike in the first place.
//
//	measured, err := compare.Read(ctx, subject)           // one subject: a run, a file, a point of a sweep
//	report, err := compare.New(measured, compare.Options{})
//	report.Tables[0].Problems                             // why rows must not be ranked, if they must not
//	report.Tables[0].Comparisons                          // paired tests, corrected for their number
//
// An evaluation is any result with the tables metrics and ranks that a stage of
// kind evaluate writes, whoever wrote them. What it depends on is found by
// content: a stage fed another when that one's output has the columns that the
// first one read. So results of other pipelines and other days compare, too.
//
// The package runs nothing, prints nothing and opens no store.
package compare
