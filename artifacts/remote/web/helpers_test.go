package web

import (
	"io"
	"log"
)

// silent is for servers whose complaints are what the test is about.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
