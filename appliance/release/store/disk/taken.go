package disk

import (
	"slices"

	"phase/appliance/base/statefile"
	"phase/appliance/release/operator"
)

const (
	takenFile = "taken.json"
	maxTaken  = 8
)

// takenList is taken.json.
type takenList struct {
	Taken []operator.Taken `json:"taken"`
}

// Taken says where the last releases came from, newest first. What cannot be read
// is not known.
func (s *Store) Taken() []operator.Taken {
	var list takenList
	if err := statefile.Read(s.path, takenFile, &list); err != nil || len(list.Taken) > maxTaken {
		return nil
	}
	return list.Taken
}

// AddTaken notes where a release came from. One that was in the store already, from
// nobody, leaves what is known of it.
func (s *Store) AddTaken(t operator.Taken) error {
	list := s.Taken()
	known := func(old operator.Taken) bool { return old.Digest == t.Digest }
	if len(t.From) == 0 && slices.ContainsFunc(list, known) {
		return nil
	}
	list = slices.Insert(slices.DeleteFunc(list, known), 0, t)
	return statefile.Write(s.path, takenFile, takenList{list[:min(len(list), maxTaken)]})
}
