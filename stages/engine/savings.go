package engine

import (
	"cmp"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/dag"
)

// Savings are what the cache spared the runs of a time. Runs of which nothing
// but the name is known are not counted.
type Savings struct {
	Runs       int     `json:"runs"`
	Cached     int     `json:"cached"`     // stages whose result was at hand
	Downloaded int     `json:"downloaded"` // stages whose result a remote had
	Ran        int     `json:"ran"`        // stages that were entered, well or not
	HitRate    float64 `json:"hit_rate"`   // of cached and downloaded among all three; 0 for none
	Bytes      int64   `json:"bytes"`      // of results that were not made again, each time that one was not
	Seconds    float64 `json:"seconds"`    // that making them had taken

	FetchedBytes  int64 `json:"fetched_bytes"` // from remotes, over the wire
	Uploaded      int   `json:"uploaded"`      // results that were sent to remotes
	UploadedBytes int64 `json:"uploaded_bytes"`
}

// Saved adds up the records of runs that began since a time.
func Saved(store *disk.Store, since time.Time) (Savings, error) {
	names, err := runNames(store.StateDir())
	if err != nil {
		return Savings{}, err
	}
	var s Savings
	limit := since.UTC().Format(runTime)
	for _, name := range names {
		if name < limit {
			break // they are newest first
		}
		record := readRecord(runDir(store, name))
		if record.Unended || record.Damaged != "" {
			continue
		}
		s.Runs++
		s.add(record)
	}
	if asked := s.Cached + s.Downloaded + s.Ran; asked > 0 {
		s.HitRate = float64(s.Cached+s.Downloaded) / float64(asked)
	}
	return s, nil
}

func (s *Savings) add(record FullRecord) {
	if shared := record.Shared; shared != nil {
		s.FetchedBytes += shared.DownloadedBytes
		s.Uploaded += shared.Uploaded
		s.UploadedBytes += shared.UploadedBytes
	}
	for _, stage := range record.Stages {
		switch dag.State(stage.State) {
		case dag.Ran, dag.Failed:
			s.Ran++
			continue
		case dag.Cached:
			s.Cached++
		case dag.Downloaded:
			s.Downloaded++
		default:
			continue
		}
		for _, output := range stage.Outputs {
			s.Bytes += output.Bytes
		}
		s.Seconds += cmp.Or(stage.SavedSeconds, record.Made[stage.Name].Seconds)
	}
}

// Origins says which remotes results are from, by their keys, as far as the
// records of runs tell: the newest counts.
func Origins(store *disk.Store) (map[artifacts.Key]string, error) {
	records, err := Records(store.StateDir(), "")
	if err != nil {
		return nil, err
	}
	origins := map[artifacts.Key]string{}
	for _, record := range records {
		for _, stage := range record.Stages {
			if _, newer := origins[stage.Key]; !newer && stage.From != "" {
				origins[stage.Key] = stage.From
			}
		}
	}
	return origins, nil
}
