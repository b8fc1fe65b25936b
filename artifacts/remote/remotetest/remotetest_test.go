package remotetest

import (
	"fmt"
	"testing"

	"github.com/prismflow/prismflow/artifacts/remote"
)

func TestMemory(t *testing.T) {
	for _, traits := range Combinations() {
		t.Run(fmt.Sprintf("%+v", traits), func(t *testing.T) {
			Run(t, func(t *testing.T) remote.Driver { return NewMemory(traits) })
		})
	}
}
