// Package server is the remote cache of a team in one process: a disk store
// behind HTTP, in the layout of the common remote build caches.
//
//	s, err := server.New(store, server.Options{Tokens: tokens, MaxBytes: 200 << 30})
//	...
//	err = s.Serve(ctx, listener) // until ctx ends; then what is on its way may finish
//
// The protocol is GET, HEAD and PUT of
//
//	/cas/<SHA-256 in hex>   a blob, whose bytes are what the name says
//	/ac/<64 hex digits>     an action result, or whatever a client keeps under a key
//
// A blob is verified while it comes in, and before it is first sent; one that is
// not what its name says never becomes visible. So clients need not trust one
// another for blobs. They have to for actions, which no server can check: a
// token says who may write (see Tokens), a signature who did.
//
// The package is not a general file server, keeps nothing but what the store
// keeps, and knows nothing of manifests, stages or memos: an action is to it
// a list of blobs that must all be there.
package server
