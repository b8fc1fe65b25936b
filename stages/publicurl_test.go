package stages

import "testing"

func TestPublicURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                                     "",
		"https://example.org/a.png":            "https://example.org/a.png",
		"https://me:secret@example.org/a#b":    "https://***@example.org/a",
		"https://example.org/a?key=secret&b=1": "https://example.org/a?***",
		"http://me:secret@exa mple.org/":       "http://…",
		"http:me:secret@example.org/a":         "http://…",
		"me:secret@example.org/a":              "me://…",
		"secret@example.org/%zz":               "…",
		"http://example.org/%zz?secret":        "http://…",
	} {
		if got := PublicURL(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
