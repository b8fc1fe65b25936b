// Package site serves the pictures of a made-up shop as the web does: most at
// once, some late, some only when asked again, some never.
//
//	proxy, stop, err := site.Start(ctx, "pictures.zip")
//	if err != nil {
//		return err
//	}
//	defer stop()
//	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
//	response, err := client.Get(site.URL("B0001.png")) // http://images.invalid/B0001.png
//
// The site is an HTTP proxy on loopback for one host whose name never resolves
// (RFC 2606), so that the pictures' addresses are the same whatever port the
// system gave it. Its content is an archive that says of every picture how it
// behaves.
//
// It is for demonstrations and tests: it fetches nothing from elsewhere, and
// draws no picture of its own.
package site
