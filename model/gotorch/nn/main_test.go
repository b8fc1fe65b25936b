package nn_test

import (
	"os"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func TestMain(m *testing.M) { os.Exit(torchtest.Main(m)) }
