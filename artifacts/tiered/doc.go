// Package tiered puts a team's remotes behind a store on the disk: what the
// disk lacks is fetched from the first remote that has it (read-through), and
// what was computed here is sent to them while the run goes on (write-behind).
//
//	cache, err := tiered.New(local, []tiered.Remote{{Store: bucket}}, tiered.Options{Warn: warn})
//	...
//	manifest, from, err := cache.Fetch(ctx, key, nil) // a *artifacts.Miss where nobody has it
//	cache.Share(key)                                  // returns at once
//	report := cache.Finish(ctx, true)                 // waits for what is still on its way
//
// A remote that is absent, slow, full, forbidden or lying costs time and a
// warning, never a wrong result and never the run. The package moves results; it
// knows neither stages nor how bytes get to a place (package remote).
package tiered
