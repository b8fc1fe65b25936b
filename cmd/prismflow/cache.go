package main

import (
	"fmt"
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
