package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// killCommands kills what this process has started, and what that has started:
// each command leads a process group. Where the kernel does not list children,
// the commands die with this process, but not what they have started.
func killCommands() {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return
	}
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(pids)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				_ = syscall.Kill(-pid, syscall.SIGKILL) // it may have ended
			}
		}
	}
}
