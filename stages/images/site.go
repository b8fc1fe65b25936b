package images

import (
	"context"
	"fmt"
	"net/url"

	shop "github.com/prismflow/prismflow/stages/synthetic/site"
)

// serveSite serves the archive of the parameter site, if there is one, and has
// the network send every request there: nothing else is dialled then. Whoever
// calls stop has ended what the network was asked for.
func (d *Download) serveSite(ctx context.Context, n *network) (stop func(), err error) {
	files := d.Site.Files()
	switch {
	case len(files) == 0:
		return func() {}, nil
	case len(files) > 1:
		return nil, fmt.Errorf("site names %d archives, and one is served", len(files))
	}
	proxy, stop, err := shop.Start(ctx, files[0].Path)
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	n.proxy = func(*url.URL) (*url.URL, error) { return proxy, nil }
	return stop, nil
}
