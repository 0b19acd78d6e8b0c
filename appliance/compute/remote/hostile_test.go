package remote_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/tests/await"
	"phase/tests/nodes"
)

// stranger is a requester that writes its frames by hand.
type stranger struct {
	t  *testing.T
	n  *nodes.Network
	me string
	at *nodes.Node
}

func newStranger(t *testing.T, n *nodes.Network, at *nodes.Node) stranger {
	return stranger{t, n, nodes.NewID(t).PeerID(), at}
}

func (s stranger) open() nodes.Conn {
	s.t.Helper()
	stream, err := s.n.Dial(s.me)(s.t.Context(), s.at.Peer(), remote.JobProtocol)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = stream.Reset() })
	return nodes.ByHand(stream)
}

// head is the header of an honest offer without an input.
func head(o scheduler.Offer) nodes.Head {
	none := int64(0)
	return nodes.Head{
		Type: "offer", Nonce: o.Nonce, Expires: time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano),
		ModuleSize: int64(len(o.Module.Bytes())), StdinSize: &none,
	}
}

// send sends an offer whose header was changed, and its module where that is
// needed, and returns the last frame.
func (s stranger) send(o scheduler.Offer, change func(*nodes.Head)) (nodes.Head, error) {
	c, h := s.open(), head(o)
	if change != nil {
		change(&h)
	}
	if err := c.Say(h, o.Spec.File()); err != nil {
		return h, err
	}
	for {
		h, _, err := c.Hear()
		if err != nil || h.Type != "accepted" && h.Type != "running" && h.Type != "stdout" {
			return h, err
		}
		if h.Module == "needed" {
			if err := c.Say(nodes.Head{Type: "module"}, o.Module.Bytes()); err != nil {
				return h, err
			}
		}
	}
}

// Offers that are replayed, stale or not what they must be are refused, each for
// its own reason, and counted.
func TestOffersThatAreRefused(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	s := newStranger(t, n, worker)
	module := nodes.Says("hello", false)
	o := nodes.Offer(t, module, nil, nil)
	if h, err := s.send(o, nil); err != nil || h.Type != "result" {
		t.Fatal(h, err)
	}
	fresh := func() scheduler.Offer { return nodes.Offer(t, module, nil, nil) }
	at := func(d time.Duration) func(*nodes.Head) {
		return func(h *nodes.Head) { h.Expires = time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	}
	named := nodes.Offer(t, module, []byte("x"), nil)
	for name, c := range map[string]struct {
		offer  scheduler.Offer
		change func(*nodes.Head)
		says   string
	}{
		"run before":         {o, nil, "has been run already"},
		"the same otherwise": {o, func(h *nodes.Head) { h.Nonce = strings.TrimRight(h.Nonce, "=") }, "offer_nonce"},
		"expired":            {fresh(), at(-time.Second), "the offer expired at"},
		"valid for long":     {fresh(), at(16 * time.Minute), "at most 15m0s"},
		"no expiry":          {fresh(), func(h *nodes.Head) { h.Expires = "" }, "expires: is missing"},
		"a short nonce":      {fresh(), func(h *nodes.Head) { h.Nonce = "AAAA" }, "16 bytes"},
		"a large module":     {fresh(), func(h *nodes.Head) { h.ModuleSize = 64<<20 + 1 }, "module_size: a module of 67108865 bytes"},
		"a negative one":     {fresh(), func(h *nodes.Head) { h.ModuleSize = -1 }, "module_size"},
		"a large input":      {fresh(), func(h *nodes.Head) { size := int64(64<<20 + 1); h.StdinSize = &size }, "stdin_size: an input of 67108865"},
		"a negative input":   {fresh(), func(h *nodes.Head) { size := int64(-1); h.StdinSize = &size }, "stdin_size"},
		"a streamed one":     {named, func(h *nodes.Head) { h.StdinSize = nil }, "stdin_size: the input of a job that names its digest"},
	} {
		if h, err := s.send(c.offer, c.change); err != nil || h.Type != "rejected" || h.Reason != "InvalidRequest" || !strings.Contains(h.Detail, c.says) {
			t.Errorf("%s: %+v, %v; it was to say %q", name, h, err, c.says)
		}
	}
	loop := nodes.Offer(t, nodes.Loops(), nil, nil)
	c := s.open()
	if err := c.Say(head(loop), loop.Spec.File()); err != nil {
		t.Fatal(err)
	}
	if h, _, err := c.Hear(); err != nil || h.Type != "accepted" {
		t.Fatal(h, err)
	}
	if h, err := s.send(loop, nil); err != nil || !strings.Contains(h.Detail, "being run already") {
		t.Errorf("an offer twice at once: %+v, %v", h, err)
	}
	if got := worker.Server.Stats(); got.Rejected[scheduler.InvalidRequest] != 12 || got.Accepted != 2 {
		t.Errorf("%+v", got)
	}
}

// What is sent behind an accepted offer has to be what was offered.
func TestModulesAndInputsThatAreRefused(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	s := newStranger(t, n, worker)
	module := nodes.Says("hello", false)
	five, large := int64(5), int64(64<<20)
	for name, c := range map[string]struct {
		stdin *int64
		send  func(nodes.Conn) error
		says  string // "" where the stream is reset
	}{
		"a larger module":  {nil, func(c nodes.Conn) error { return c.Say(nodes.Head{Type: "module"}, append(module, 0)) }, "module_size"},
		"a smaller module": {nil, func(c nodes.Conn) error { return c.Say(nodes.Head{Type: "module"}, module[1:]) }, "module_size"},
		"another module": {nil, func(c nodes.Conn) error {
			return c.Say(nodes.Head{Type: "module"}, nodes.Says("jello", false))
		}, "module"},
		"less input": {&five, func(c nodes.Conn) error {
			return errors.Join(c.Say(nodes.Head{Type: "module"}, module), c.Say(nodes.Head{Type: "input", Last: true}, []byte("four")))
		}, "stdin_size: 5 bytes were offered and 4 came"},
		"more input": {&five, func(c nodes.Conn) error {
			return errors.Join(c.Say(nodes.Head{Type: "module"}, module), c.Say(nodes.Head{Type: "input", Last: true}, []byte("more than five")))
		}, ""},
		"a large piece": {&large, func(c nodes.Conn) error {
			return errors.Join(c.Say(nodes.Head{Type: "module"}, module), c.Say(nodes.Head{Type: "input", Last: true}, make([]byte, 1<<20+1)))
		}, ""},
		"input first":    {&five, func(c nodes.Conn) error { return c.Say(nodes.Head{Type: "input"}, []byte("x")) }, ""},
		"another offer":  {nil, func(c nodes.Conn) error { return c.Say(nodes.Head{Type: "offer"}, nil) }, ""},
		"a large header": {nil, func(c nodes.Conn) error { _, err := c.Write([]byte("\x7f\x00\x00\x00")); return err }, ""},
		"no JSON":        {nil, func(c nodes.Conn) error { _, err := c.Write([]byte("\x00\x00\x00\x02no")); return err }, ""},
	} {
		o, conn := nodes.Offer(t, module, nil, nil), s.open()
		h := head(o)
		if c.stdin != nil {
			h.StdinSize = c.stdin
		}
		if err := conn.Say(h, o.Spec.File()); err != nil {
			t.Fatal(err)
		}
		if h, _, err := conn.Hear(); err != nil || h.Module != "needed" {
			t.Fatal(h, err)
		}
		if err := c.send(conn); err != nil && c.says != "" {
			t.Fatal(name, err)
		}
		h, _, err := conn.Hear()
		switch {
		case c.says == "" && err == nil:
			t.Errorf("%s: %+v, want the stream to be reset", name, h)
		case c.says != "" && (err != nil || h.Type != "rejected" || !strings.Contains(h.Detail, c.says)):
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		_ = conn.Close()
		worker.Idle(t)
	}
	if got := worker.Server.Stats(); got.Garbled != 6 || got.Rejected[scheduler.InvalidRequest] != 4 {
		t.Errorf("%+v", got)
	}
}

// A first frame that is none ends the stream.
func TestFirstFrames(t *testing.T) {
	n := nodes.NewNetwork()
	worker := n.Start(t, "all", nil)
	s := newStranger(t, n, worker)
	for i, text := range []string{"\xff\xff\xff\xff", "\x00\x00\x00\x00", "\x00\x00\x00\x02{}", "\x00\x00\x00\x0e" + `{"type":"sing"}`[:14], "GET / HTTP/1.1\r\n\r\n"} {
		c := s.open()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if h, _, err := c.Hear(); err == nil {
			t.Errorf("%q is answered with %+v", text, h)
		}
		if err := await.Until(t.Context(), func() bool { return worker.Server.Stats().Garbled == uint64(i+1) }); err != nil {
			t.Errorf("%q is not counted: %+v", text, worker.Server.Stats())
		}
	}
	o := nodes.Offer(t, nodes.Says("", false), nil, nil)
	if h, _, err := func() (nodes.Head, []byte, error) {
		c := s.open()
		if err := c.Say(head(o), make([]byte, strictjson.MaxBytes+1)); err != nil {
			return nodes.Head{}, nil, err
		}
		return c.Hear()
	}(); err == nil {
		t.Errorf("a large job file is answered with %+v", h)
	}
	worker.Idle(t)
}
