//go:build !linux

package engine

// unwritten says whether nobody can write to the file any more; it is not known
// here.
func unwritten(string) error { return nil }
