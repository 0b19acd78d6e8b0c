package peer

import (
	"bytes"
	"io"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// What a protocol has written when it closes its stream and returns reaches the
// other end; one that returns without closing it ends it with an error.
func TestAnswersArriveWhole(t *testing.T) {
	answer := bytes.Repeat([]byte("x"), 1<<20)
	for _, listen := range loopback {
		a, b := start(t, Config{Listen: []string{listen}}), start(t, Config{Listen: []string{listen}})
		if err := b.Connect(t.Context(), peer.AddrInfo{ID: a.Host().ID(), Addrs: a.Host().Addrs()}); err != nil {
			t.Fatal(err)
		}
		a.Handle("/test/closes", func(_ string, s Stream) {
			_, _ = s.Write(answer)
			_ = s.Close()
		})
		a.Handle("/test/leaves", func(_ string, s Stream) { _, _ = s.Write(answer[:1]) })
		read := func(name string) ([]byte, error) {
			s, err := b.Dial(t.Context(), a.Host().ID().String(), name)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, _ = s.Write([]byte("?")) // the protocol is told with the first byte
			return io.ReadAll(s)
		}
		for range 20 {
			if got, err := read("/test/closes"); err != nil || !bytes.Equal(got, answer) {
				t.Fatalf("%s: %d bytes of %d came, %v", listen, len(got), len(answer), err)
			}
		}
		if _, err := read("/test/leaves"); err == nil {
			t.Errorf("%s: it ended as if all had been said", listen)
		}
	}
}
