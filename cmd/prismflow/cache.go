package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/disk"
)

const cacheDoc = `The cache holds every result by what it was computed from. It may be removed at
any time: everything in it can be computed again.`

func newCacheCommand(s *streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Short:   "Look after the cache",
		Long:    cacheDoc,
		Example: "  prismflow cache stat\n  prismflow cache gc --max-size 50GiB --keep-days 30 --keep-runs 5",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCacheLsCommand(s), newCacheStatCommand(s), newCacheVerifyCommand(s), newCacheGCCommand(s))
	cmd.AddCommand(newCachePushCommand(s), newCachePullCommand(s), newCacheTrustCommand(s))
	cmd.AddCommand(newCacheServeCommand(s), newCacheTokenCommand(s))
	return cmd
}

// cacheOptions are the flags of all commands on the cache.
type cacheOptions struct {
	cache string
	json  bool
}

func (o *cacheOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.cache, "cache", "", "cache `DIR` (default $PRISMFLOW_CACHE, [cache] dir of your settings, or prismflow in the user's cache directory)")
	registerJSON(cmd, &o.json, "print one JSON object")
}

// openCache is openStore for commands that look after a cache. One that --cache
// names has to be there: made here, in place of a share that is not mounted, it
// would be taken for the share by whoever sends something to it.
func openCache(flag, ofPipeline string, s *streams) (*disk.Store, error) {
	if flag != "" {
		if info, err := os.Stat(filepath.Join(s.path(flag), "cas")); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			return nil, usageError{fmt.Errorf("--cache %s: there is no cache in it; if it is on a share, see whether that is mounted", flag)}
		}
	}
	return openStore(flag, ofPipeline, s)
}

// A leaseReport is a run that uses the cache now.
type leaseReport struct {
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
}

func leases(store *disk.Store) ([]leaseReport, error) {
	held, err := store.Leases()
	if err != nil {
		return nil, cacheError{fmt.Errorf("asking which runs use the cache: %w", err)}
	}
	reports := []leaseReport{}
	for _, lease := range held {
		reports = append(reports, leaseReport{lease.Name, lease.Started})
	}
	return reports, nil
}
