//go:build !linux

package disk

// probeExactTimes knows of no system but Linux whose change times are exact.
func probeExactTimes(string) func(device uint64) bool { return func(uint64) bool { return false } }
