// Package disk is a store in a directory of the file system.
//
//	s, err := disk.Open(dir, disk.Options{})
//	lease, err := s.Lease(ctx, "run 42")        // from here on GC leaves alone what we use
//	unlock, err := s.Lock(ctx, key)             // one of us computes it
//	m, err := artifacts.Lookup(ctx, s, key)     // or somebody already has
//	path, err := s.Verified(ctx, m.Outputs["table"].Digest)
//
// The directory has these parts:
//
//	cas/<2 hex>/<64 hex>   blobs, by the SHA-256 of their bytes, read-only
//	ac/<2 hex>/<64 hex>    actions, by key; their time is that of their last use
//	tmp/                   unfinished files, each with a process that has it locked
//	quarantine/            blobs that turned out corrupt
//	state/                 what belongs to this machine: what was hashed, locks, leases
//
// Several processes, also of several users and hosts, may use one directory at
// once, where its file system has working locks (flock). What is visible in
// cas/ and ac/ is always whole: it is written under another name, synced,
// renamed. A process may be killed at any time.
//
// The package does not decide what is worth keeping, fetches nothing from
// elsewhere, and does not protect a blob from somebody who may write to the
// directory: it notices, when the blob is next used.
package disk
