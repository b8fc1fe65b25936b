package main

import (
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/exec"
)

// registry holds the kinds that this program knows.
func registry() (stages.Registry, error) {
	return stages.NewRegistry(exec.Kinds()...)
}
