package remote

import (
	"context"

	"github.com/prismflow/prismflow/artifacts"
)

// Replace is Upload of a blob that is there and is wrong.
func (s *Store) Replace(ctx context.Context, d artifacts.Digest, content Content, progress Progress) (sent int64, err error) {
	if err := s.driver.Write(ctx, blobName(d), content, false); err != nil {
		return 0, err
	}
	return content.Size, nil
}
