package main

import (
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

func TestDownloadText(t *testing.T) {
	for want, counts := range map[string][]artifacts.Count{
		"0 of 0 pictures": nil,
		"1,200 of 1,200 pictures; 7 downloaded, 2.0 KiB": {
			{Name: "pictures", Value: 1200}, {Name: "reused", Value: 1193}, {Name: "downloaded", Value: 7}, {Name: "bytes", Value: 2048}, {Name: "failed"},
		},
		"2 of 5 pictures; 2 downloaded, 99 B; 4 retried: 3 server error, 1 cut short; 3 failed: 2 not found, 1 damaged": {
			{Name: "pictures", Value: 2}, {Name: "downloaded", Value: 2}, {Name: "bytes", Value: 99},
			{Name: "retried", Value: 4}, {Name: "retried_server_error", Value: 3}, {Name: "retried_cut_short", Value: 1},
			{Name: "failed", Value: 3}, {Name: "failed_not_found", Value: 2}, {Name: "failed_damaged", Value: 1},
		},
	} {
		if got := downloadText(counts); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestEmbedText(t *testing.T) {
	got := embedText([]artifacts.Count{
		{Name: "items", Value: 480}, {Name: "images_embedded", Value: 10}, {Name: "images_reused", Value: 470}, {Name: "images_broken"},
		{Name: "texts_embedded"}, {Name: "texts_reused", Value: 3650},
	})
	if want := "pictures: 10 embedded, 470 reused; texts: 3,650 reused"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
