package updates

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/machine/exchange"
	"phase/appliance/network/frame"
	"phase/appliance/release/operator"
)

// stream is a connection as a stream of a peer.
type stream struct{ *net.TCPConn }

func (s stream) Reset() error { return s.Close() }

func pair(t *testing.T) (near, far stream) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	two, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		one.Close()
		two.Close()
	})
	return stream{one.(*net.TCPConn)}, stream{two.(*net.TCPConn)}
}

func someone(t *testing.T) identity.Identity {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// to is a client in the name of id, whose peers answer by serve.
func to(t *testing.T, id identity.Identity, serve func(peer string, s frame.Stream)) *Client {
	return &Client{Self: id.PeerID(), Sign: id.Sign, Dial: func(context.Context, string, string) (frame.Stream, error) {
		near, far := pair(t)
		go serve(id.PeerID(), far)
		return near, nil
	}}
}

// TestStream: the order of an admin answers the challenge of the node that it is
// given to, each time another one, and a stranger gets none.
func TestStream(t *testing.T) {
	node, admin := someone(t), someone(t)
	key, err := identity.ParsePeerID(admin.PeerID())
	if err != nil {
		t.Fatal(err)
	}
	gate := operator.NewGate(node.PeerID(), map[string]ed25519.PublicKey{admin.PeerID(): key}, rand.Reader)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := exchange.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var asked []string // one at a time: what the gate has seen
	go exchange.Serve(t.Context(), l, operator.MaxQuestion, func(_ context.Context, _ uint32, data []byte, _ error) (any, func()) {
		var a operator.Answer
		q, err := operator.ParseQuestion(data)
		if asked = append(asked, q.Do); err == nil && q.Do == operator.Challenge {
			a.Challenge, err = gate.Challenge(time.Now())
		} else if err == nil {
			var o operator.Order
			o, a.Did, err = gate.Admit(q.Order, time.Now())
			a.Report.State = o.Do + o.Release
		}
		if err != nil {
			a.Refused = operator.AsRefused(err)
		}
		return a, nil
	})
	server := &Server{Socket: socket, Admins: map[string]bool{admin.PeerID(): true}}
	serve := func(peer string, s frame.Stream) { server.Handle(t.Context(), peer, s) }
	for range 2 {
		got, err := to(t, admin, serve).Do(t.Context(), node.PeerID(), operator.Question{Do: operator.Apply, Release: "x"})
		if err != nil || got.Did != admin.PeerID() || got.Report.State != "applyx" {
			t.Fatalf("an order of the admin: %+v, %v", got, err)
		}
	}
	if _, err := to(t, admin, serve).Do(t.Context(), admin.PeerID(), operator.Question{Do: operator.Hold}); operator.AsRefused(err).Code != operator.NotAuthorized || !strings.Contains(err.Error(), "this node is "+node.PeerID()) {
		t.Errorf("an order for another node: %v", err)
	}
	before := len(asked)
	if _, err := to(t, someone(t), serve).Do(t.Context(), node.PeerID(), operator.Question{Do: operator.Hold}); operator.AsRefused(err).Code != operator.NotAuthorized || !strings.Contains(err.Error(), "is no admin") {
		t.Errorf("an order of a stranger: %v", err)
	}
	if len(asked) != before {
		t.Errorf("for a stranger the program update was asked %q", asked[before:])
	}
}

// TestStreamOfALiar: a node that speaks something else is an error of its admin's,
// who signs nothing but an answer to a challenge of the size there is.
func TestStreamOfALiar(t *testing.T) {
	for name, c := range map[string]struct {
		first head
		raw   string
		says  string
	}{
		"a long challenge":  {head{typeChallenge, operator.ChallengeBytes + 1}, strings.Repeat("x", operator.ChallengeBytes+1), "at most 16 are allowed"},
		"a short challenge": {head{typeChallenge, 2}, "xx", "has 2 bytes"},
		"an order":          {head{typeOrder, 2}, "{}", "where an answer belongs"},
		"a large answer":    {head{typeAnswer, operator.MaxAnswer + 1}, "", "at most"},
		"no JSON":           {head{typeAnswer, 2}, "xx", "reading its answer"},
	} {
		signed := 0
		liar := to(t, someone(t), func(_ string, s frame.Stream) {
			_ = frame.New(s, time.Minute).Send(c.first, []byte(c.raw)) // it may be hung up on
		})
		liar.Sign = func(string, []byte) ([]byte, error) { signed++; return nil, nil }
		if _, err := liar.Do(t.Context(), "12D3", operator.Question{Do: operator.Hold}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if signed != 0 {
			t.Errorf("%s: something was signed", name)
		}
	}
}
