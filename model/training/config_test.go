package training

import (
	"strings"
	"testing"
)

func TestValidationListsEveryProblem(t *testing.T) {
	config := Config{}
	err := config.Validate()
	for _, want := range []string{"backbone", "mode", "loss", "hidden", "layers", "heads", "max_length", "learning_rate", "batch_size", "epochs", "monitor", "precision", "threads", "gate_temperature", "negatives"} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+want+" = ") {
			t.Errorf("an empty configuration: %s is not named in\n%v", want, err)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	data := Data{Items: 3, Users: []User{{ID: 7, Train: []int32{9}}, {ID: 8, Valid: []int32{-1}}, {ID: 9, Held: []int32{4}}}, Modalities: []Modality{{Name: "image", Size: 2, Vectors: []float32{1}}}}
	err = data.Validate()
	for _, want := range []string{"user 7: item 9", "user 8: validation item -1", "user 9: held-out item 4", "modality image: 1 values", "no user has two items"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("broken data: %q is not in\n%v", want, err)
		}
	}
}
