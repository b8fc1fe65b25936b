//go:build !linux

package main

// machineMemory is 0: not known here, so memory is not rationed.
func machineMemory() int64 { return 0 }
