package memory

import (
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) artifacts.Store { return New() })
}
