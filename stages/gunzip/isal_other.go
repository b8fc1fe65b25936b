//go:build !linux

package gunzip

// isalNames are where the library is: on the search path, or where Homebrew
// puts it.
var isalNames = []string{"libisal.2.dylib", "/opt/homebrew/opt/isa-l/lib/libisal.2.dylib", "/usr/local/opt/isa-l/lib/libisal.2.dylib"}

const isalRemedy = "brew install isa-l"
