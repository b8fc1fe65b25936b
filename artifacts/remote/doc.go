// Package remote keeps blobs and action results where a team reaches them: on
// a share, in a bucket, behind an HTTP server. A Driver moves bytes of one such
// place; a Store, over any driver, is an artifacts.Store that verifies while it
// streams, takes up again what broke off, keeps to a bandwidth, and stops asking
// a remote that does not answer.
//
//	store, err := remote.New(driver, remote.Options{Timeout: 10 * time.Second})
//	...
//	err = store.Upload(ctx, digest, size, open) // sends nothing that is there
//	r, err := store.Get(ctx, digest)            // ErrCorrupt in place of wrong bytes
//
// Objects are named as the common remote build caches do: cas/<SHA-256 in hex>
// and ac/<key>. Drivers that can hold other names keep what shrinks as
// cas/<SHA-256>.zst.
//
// The package decides no policy: which remote is asked, what is sent to it and
// whose results are believed is for package tiered to say.
package remote
