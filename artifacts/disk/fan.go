package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// A fan is the directories over which blobs and actions are spread, and what this
// process knows of them: which names have reached the disk. One that another
// goroutine or process has just made may not have yet, and what is stored in it
// would go with it when the power does. So each process syncs the directory above
// once, and then once for each further one that it is the first to use; nobody
// holds a lock meanwhile. The zero value is ready.
type fan struct {
	mu      sync.Mutex      // guards settled
	settled map[string]bool // paths whose names are durable; of those above, that they were synced
}

// settle makes a directory, where it is absent, and its name durable.
func (f *fan) settle(flt fault, dir string) error {
	if f.has(dir) {
		return nil
	}
	above := filepath.Dir(dir)
	if !f.has(above) {
		if err := f.survey(flt, above); err != nil || f.has(dir) {
			return err
		}
	}
	if err := inOrder(step{"mkdir", func() error { return groupmode.MkdirAll(dir) }}).run(flt, dir); err != nil {
		return err
	}
	if err := syncDir(flt, above); err != nil {
		return err
	}
	f.add(dir)
	return nil
}

// survey takes note of what there is before it is synced.
func (f *fan) survey(flt fault, above string) error {
	entries, err := os.ReadDir(above)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is made with the first directory
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		if err := syncDir(flt, above); err != nil {
			return err
		}
	}
	for _, e := range entries {
		f.add(filepath.Join(above, e.Name()))
	}
	f.add(above)
	return nil
}

func (f *fan) has(dir string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settled[dir]
}

func (f *fan) add(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.settled == nil {
		f.settled = map[string]bool{}
	}
	f.settled[dir] = true
}

// forget makes settle look again.
func (f *fan) forget(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.settled, dir)
}
