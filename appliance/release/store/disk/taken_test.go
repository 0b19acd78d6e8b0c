package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/release/operator"
)

func TestTaken(t *testing.T) {
	s, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Taken()) != 0 {
		t.Errorf("at first %+v", s.Taken())
	}
	from := []operator.Source{{Provider: "http://a", Bytes: 7}}
	for i := range uint64(2 * maxTaken) {
		if err := s.AddTaken(operator.Taken{Version: i, Digest: fmt.Sprint(i), From: from}); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprint(2*maxTaken - 1)
	if err := s.AddTaken(operator.Taken{Version: 2*maxTaken - 1, Digest: last, From: []operator.Source{}}); err != nil {
		t.Fatal(err)
	}
	list := s.Taken()
	if len(list) != maxTaken || list[0].Digest != last || len(list[0].From) != 1 {
		t.Errorf("taken: %+v", list)
	}
	if err := os.WriteFile(filepath.Join(s.Path(), takenFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if len(s.Taken()) != 0 {
		t.Error("a damaged list is read")
	}
}
