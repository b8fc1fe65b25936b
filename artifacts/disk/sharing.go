package disk

import (
	"os"

	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// Sharing says whether a group shares the store's directory (see package
// groupmode), and which of the directories in it the group may not write to all
// the same, as those that were there before it was shared.
func (s *Store) Sharing() (shared bool, closed []string, err error) {
	root, err := os.Stat(s.dir)
	if err != nil || !groupmode.Shared(root) {
		return false, nil, err
	}
	for _, parent := range []string{".", "cas", "ac", "state"} {
		entries, err := os.ReadDir(s.path(parent))
		if err != nil {
			return true, nil, err
		}
		for _, entry := range entries {
			info, err := entry.Info()
			if err == nil && info.IsDir() && info.Mode().Perm()&0o070 != 0o070 {
				closed = append(closed, s.path(parent, entry.Name()))
			}
		}
	}
	return true, closed, nil
}
