//go:build !linux

package disk

// LocalLocks is implemented for Linux alone; elsewhere none are known of.
func (s *Store) LocalLocks() string { return "" }
