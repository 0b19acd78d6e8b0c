package remote

import (
	"fmt"
	"testing"
)

// A crowd that begins to ask what the node can do, and one peer that asks on many
// streams, leave room for those whose jobs are accepted.
func TestRoomToAsk(t *testing.T) {
	accept, err := ParseAccept("12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Config: Config{Accept: accept}, asking: map[string]int{}}
	for range askingOfPeer {
		if !s.ask("one") {
			t.Error("there is no room for a few")
		}
	}
	if s.ask("one") {
		t.Error("one peer has more than its share")
	}
	for n := range maxAsking {
		s.ask(fmt.Sprint(n))
	}
	if s.asked != maxAsking/2 || s.ask("stranger") {
		t.Errorf("strangers ask on %d streams", s.asked)
	}
	if !s.ask("12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2") {
		t.Error("there is no room for one whose jobs are accepted")
	}
	for range askingOfPeer {
		s.answered("one")
	}
	if !s.ask("one") || s.asking["one"] != 1 {
		t.Error("what is answered leaves no room")
	}
}
