package kinds

import "testing"

// Every kind is in the registry under its own name and says what it is, shows
// how it is used, and documents what it reads, writes and can be set to.
func TestAll(t *testing.T) {
	registry, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range registry.Kinds() {
		if kind.Version < 1 {
			t.Errorf("%s: version %d, want at least 1", kind.Name, kind.Version)
		}
		if kind.Summary == "" || kind.Doc == "" || kind.Example == "" {
			t.Errorf("%s: needs a summary, a text and an example", kind.Name)
		}
		for _, port := range append(kind.Inputs, kind.Outputs...) {
			if port.Doc == "" {
				t.Errorf("%s: %s is not documented", kind.Name, port.Name)
			}
		}
		for _, param := range kind.Params {
			if param.Doc == "" {
				t.Errorf("%s: %s is not documented", kind.Name, param.Name)
			}
		}
	}
}
