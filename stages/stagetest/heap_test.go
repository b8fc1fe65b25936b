package stagetest

import (
	"runtime"
	"testing"
)

func TestPeakHeap(t *testing.T) {
	most := PeakHeap(func() {
		held := make([]byte, 64<<20)
		for range 3 {
			runtime.GC()
		}
		runtime.KeepAlive(held)
	})
	if most < 64<<20 || most > 128<<20 {
		t.Errorf("%d MiB, want those 64 and a little", most>>20)
	}
}
