package operator

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/strictjson"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func key(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, ed25519.SeedSize))
}

func public(fill byte) ed25519.PublicKey { return key(fill).Public().(ed25519.PublicKey) }

func signer(fill byte) func(string, []byte) ([]byte, error) {
	return func(kind string, payload []byte) ([]byte, error) { return envelope.Sign(kind, payload, key(fill)) }
}

func gate() *Gate {
	return NewGate("12D3node", map[string]ed25519.PublicKey{"12D3admin": public(1), "12D3other": public(2)}, rand.Reader)
}

// order answers a challenge of g that was given at now.
func order(t testing.TB, g *Gate, edit func(*Order)) []byte {
	t.Helper()
	return as(t, 1, g, edit)
}

func as(t testing.TB, fill byte, g *Gate, edit func(*Order)) []byte {
	t.Helper()
	challenge, err := g.Challenge(now)
	if err != nil {
		t.Fatal(err)
	}
	o := Order{Node: "12D3node", Do: Apply, Challenge: challenge}
	if edit != nil {
		edit(&o)
	}
	data, err := o.Sign(signer(fill))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAdmit(t *testing.T) {
	g := gate()
	o, by, err := g.Admit(order(t, g, func(o *Order) { o.Do = Rollback }), now.Add(Lifetime-1))
	if err != nil || o.Do != Rollback || by != "12D3admin" {
		t.Errorf("an order of an admin: %+v, by %q, %v", o, by, err)
	}
	o, _, err = g.Admit(order(t, g, func(o *Order) { o.Do, o.Disk, o.Erase = Install, "/dev/sda", "/dev/sda" }), now)
	if want := (Question{Do: Install, Disk: "/dev/sda", Erase: "/dev/sda"}); err != nil || !reflect.DeepEqual(o.Asked(), want) {
		t.Errorf("an order to install: %+v, %v", o.Asked(), err)
	}
	if _, by, err := g.Admit(as(t, 2, g, nil), now); err != nil || by != "12D3other" {
		t.Errorf("an order of the other admin: by %q, %v", by, err)
	}
	wrongType, err := envelope.Sign("application/vnd.phase.node.v1+json", []byte("{}"), key(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		code string
		says string
	}{
		"a stranger":            {as(t, 3, g, nil), NotAuthorized, "no admin of this node"},
		"another node":          {order(t, g, func(o *Order) { o.Node = "12D3third" }), NotAuthorized, "is for"},
		"no node":               {order(t, g, func(o *Order) { o.Node = "" }), NotAuthorized, "is for"},
		"its own challenge":     {order(t, g, func(o *Order) { o.Challenge = make([]byte, ChallengeBytes) }), NotAuthorized, "no challenge"},
		"of the node before":    {order(t, gate(), nil), NotAuthorized, "last start"},
		"no such action":        {order(t, g, func(o *Order) { o.Do = "format" }), InvalidRequest, "which of"},
		"a challenge, no order": {order(t, g, func(o *Order) { o.Do = Challenge }), InvalidRequest, "which of"},
		"no challenge":          {order(t, g, func(o *Order) { o.Challenge = nil }), InvalidRequest, "challenge"},
		"a short challenge":     {order(t, g, func(o *Order) { o.Challenge = o.Challenge[:8] }), InvalidRequest, "challenge"},
		"a long name":           {order(t, g, func(o *Order) { o.Release = strings.Repeat("x", maxText+1) }), InvalidRequest, "bytes"},
		"a disk, named once":    {order(t, g, func(o *Order) { o.Do, o.Disk = Install, "/dev/sda" }), InvalidRequest, "second time"},
		"two disks":             {order(t, g, func(o *Order) { o.Do, o.Disk, o.Erase = Install, "/dev/sda", "/dev/sdb" }), InvalidRequest, "second time"},
		"no disk":               {order(t, g, func(o *Order) { o.Do = Install }), InvalidRequest, "which disk"},
		"a disk to apply":       {order(t, g, func(o *Order) { o.Disk = "/dev/sda" }), InvalidRequest, "install alone"},
		"a reset of nobody":     {order(t, g, func(o *Order) { o.Do = Reset }), InvalidRequest, "peer id"},
		"a long disk":           {order(t, g, func(o *Order) { o.Disk = strings.Repeat("x", maxText+1) }), InvalidRequest, "bytes"},
		"another document":      {wrongType, InvalidRequest, "payload type"},
		"no envelope":           {[]byte("{}"), InvalidRequest, "envelope"},
		"too long":              {bytes.Repeat([]byte(" "), MaxOrder+1), InvalidRequest, "at most"},
	} {
		_, _, err := g.Admit(c.data, now)
		if r, ok := errors.AsType[*Refused](err); !ok || r.Code != c.code || !strings.Contains(r.Detail, c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReplay: a challenge is answered once, however the envelope of the order is
// written, and not when its time is over. What is refused has answered none.
func TestReplay(t *testing.T) {
	g := gate()
	var challenge []byte
	data := order(t, g, func(o *Order) { challenge = o.Challenge })
	same := func(fill byte, node string) []byte {
		return as(t, fill, g, func(o *Order) { o.Node, o.Challenge = node, challenge })
	}
	for name, refused := range map[string][]byte{"a stranger's": same(3, "12D3node"), "for another node": same(1, "12D3third")} {
		if _, _, err := g.Admit(refused, now); err == nil {
			t.Errorf("%s is let in", name)
		}
	}
	if _, _, err := g.Admit(data, now); err != nil {
		t.Fatal(err)
	}
	e, err := envelope.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	both, err := envelope.Sign(PayloadType, e.Payload, key(1), key(2)) // another text, the same order
	if err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string][]byte{"the same": data, "another text": both, "another admin's": same(2, "12D3node")} {
		if _, _, err := g.Admit(again, now); err == nil || !strings.Contains(err.Error(), "was here before") {
			t.Errorf("%s, a second time: %v", name, err)
		}
	}
	if _, _, err := g.Admit(order(t, g, nil), now.Add(Lifetime)); err == nil || len(g.given) != 0 {
		t.Errorf("after its time: %v, %d challenges wait", err, len(g.given))
	}
	first := order(t, g, nil)
	for range maxGiven {
		data = order(t, g, nil)
	}
	if _, _, err := g.Admit(data, now); err != nil || len(g.given) != maxGiven-1 {
		t.Errorf("the last of many: %v, %d challenges wait", err, len(g.given))
	}
	if _, _, err := g.Admit(first, now); err == nil {
		t.Error("more challenges wait than may")
	}
}

// TestNoNode: a node without a lasting peer id takes no orders, one without admins
// none either.
func TestNoNode(t *testing.T) {
	stranger := NewGate("12D3node", nil, rand.Reader)
	if _, _, err := stranger.Admit(order(t, stranger, nil), now); AsRefused(err).Code != NotAuthorized {
		t.Errorf("no admins: %v", err)
	}
	g := NewGate("", map[string]ed25519.PublicKey{"12D3admin": public(1)}, rand.Reader)
	if _, err := g.Challenge(now); AsRefused(err).Code != NotAuthorized {
		t.Errorf("no peer id gives a challenge: %v", err)
	}
	for _, node := range []string{"", "12D3node"} {
		if _, _, err := g.Admit(order(t, gate(), func(o *Order) { o.Node = node }), now); AsRefused(err).Code != NotAuthorized {
			t.Errorf("no peer id, an order for %q: %v", node, err)
		}
	}
}

func TestParseQuestion(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"do":"status"}`: true, `{"do":"challenge"}`: true, `{"do":"apply","release":"sha256:00"}`: true, `{"order":"AAAA"}`: true,
		`{}`: false, `{"do":"format"}`: false, `{"do":"status","order":"AAAA"}`: false, `{"order":"AAAA","release":"x"}`: false,
		`{"do":"status","x":1}`: false, `{"do":"status"}{}`: false, `{"do":"status","do":"apply"}`: false, ``: false,
		`{"do":"status"}` + strings.Repeat(" ", MaxQuestion): false,
	} {
		if _, err := ParseQuestion([]byte(text)); (err == nil) != ok {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// FuzzAdmit states: whatever comes, an order is let in only if an admin has signed
// its payload, for this node, as the answer to a challenge, and once.
func FuzzAdmit(f *testing.F) {
	challenge := bytes.Repeat([]byte{7}, ChallengeBytes)
	known := func(o *Order) { o.Challenge = challenge }
	f.Add(order(f, gate(), known))
	f.Add(order(f, gate(), nil))
	f.Add(as(f, 3, gate(), known))
	f.Add(order(f, gate(), func(o *Order) { o.Node, o.Challenge = "x", challenge }))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := gate()
		g.random = bytes.NewReader(challenge)
		if _, err := g.Challenge(now); err != nil {
			t.Fatal(err)
		}
		o, _, err := g.Admit(data, now)
		if err != nil {
			return
		}
		e, parseErr := envelope.Parse(data)
		if parseErr != nil || len(e.SignedBy(g.keys)) == 0 || o.Node != "12D3node" || !bytes.Equal(o.Challenge, challenge) {
			t.Fatalf("admitted %s", data)
		}
		if _, _, err := g.Admit(data, now); err == nil {
			t.Fatal("admitted twice")
		}
	})
}

// FuzzParseQuestion states: what is read is an action there is, or an order.
func FuzzParseQuestion(f *testing.F) {
	f.Add([]byte(`{"do":"status"}`))
	f.Add([]byte(`{"order":"AAAA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := ParseQuestion(data)
		if err != nil {
			return
		}
		if (q.Do == "") == (len(q.Order) == 0) {
			t.Fatalf("read %+v", q)
		}
		text, err := strictjson.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseQuestion(text); err != nil || again.Do != q.Do || again.Release != q.Release || !bytes.Equal(again.Order, q.Order) {
			t.Fatalf("written %s, read %+v, %v", text, again, err)
		}
	})
}
