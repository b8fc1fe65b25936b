package gunzip

// isalNames are the names that programs are linked with, which stand for an
// interface that does not change.
var isalNames = []string{"libisal.so.2"}

const isalRemedy = "apt-get install libisal2"
