package table

import (
	"os"
	"testing"
)

func TestTmpShow(t *testing.T) {
	p := write(t, everyTypeRows())
	WriteText(os.Stdout, p, -1, 0)
	WriteText(os.Stdout, p, 1, 100)
	WriteJSONRows(os.Stdout, p, -1)
	WriteCSV(os.Stdout, p)
}
