package stagetest

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// PeakHeap is the most bytes that a garbage collection found alive while run ran,
// looked at every 20 ms and at the end.
func PeakHeap(run func()) (most uint64) {
	runtime.GC()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() { peak <- watchHeap(stop) }()
	defer func() { // also when run does not come back, as a test that fails does not
		close(stop)
		most = <-peak
	}()
	run()
	return most
}

func watchHeap(stop <-chan struct{}) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	most := uint64(0)
	look := func() {
		metrics.Read(sample)
		most = max(most, sample[0].Value.Uint64())
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		look()
		select {
		case <-stop:
			look() // on a busy machine it may have had no turn since the first
			return most
		case <-tick.C:
		}
	}
}
