// Package web is the remote behind an HTTP server: a remote.Driver for
// http(s)://HOST[:PORT]/PREFIX in the layout of the common remote build caches,
// where PUT, GET and HEAD of PREFIX/cas/<SHA-256 in hex> and PREFIX/ac/<key> are
// all there is. nginx with its WebDAV module is such a server, bazel-remote is
// one, and so is `prismflow cache serve`.
//
//	driver, err := web.New("https://cache.example.org/team", web.Options{Token: token})
//	...
//	store, err := remote.New(driver, remote.Options{})
//
// What a server can do beyond these three is learnt from its answers: ranges,
// conditional writes, bodies compressed with zstd. Nothing of what it says is
// believed further than it can be checked, and the bytes not at all: the
// remote.Store above verifies them.
//
// The package neither retries nor verifies, and knows no client certificates,
// cookies, or schemes of authorization other than Basic and Bearer.
package web
