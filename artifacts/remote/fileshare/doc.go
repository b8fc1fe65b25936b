// Package fileshare is the remote.Driver for a directory that several machines
// have mounted, as file:///mnt/share/prismflow.
//
//	driver, err := fileshare.New("file:///mnt/share/prismflow")
//	store, err := remote.New(driver, remote.Options{})
//
// Objects lie as in the directory of a disk store, cas/<2 hex>/<64 hex> and
// ac/<2 hex>/<64 hex>, so that the share may be somebody's cache directory too.
// An object is written under another name, synced, and linked or renamed into
// place: nobody sees a part of one, whoever dies when. Nothing depends on locks
// or on clocks that agree, for on many shares neither is to be had.
//
// A call on a mount whose server is gone may never come back. It is made aside,
// and whoever waits for it goes when its context ends.
//
// The package trusts nothing on the share: it follows no link out of it and opens
// regular files alone. It verifies no bytes (remote.Store does) and removes no
// object.
package fileshare
