// Package operator is what those who look after a node ask of its updates, and
// what they are answered: questions and answers as JSON, and orders from afar,
// each an envelope that an admin of the node has signed. The program update, which
// alone may change what a node runs, verifies orders by itself: what hands them on
// cannot make one.
package operator

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/strictjson"
)

// PayloadType is the media type of an order in its envelope.
const PayloadType = "application/vnd.phase.update-request.v1+json"

// What may be asked for.
const (
	Status   = "status"   // what runs, what is held, what is waited for
	Check    = "check"    // ask the providers again now
	Apply    = "apply"    // take the newest release now
	Rollback = "rollback" // go back to the newest good older release, and stay on it
	Hold     = "hold"     // stay on the release that runs
	Resume   = "resume"   // let go of hold and rollback

	Disks   = "disks"   // which disks the node can be installed on, and how that stands
	Install = "install" // write what the node was started from to a disk
	Reset   = "reset"   // forget all that the node keeps, and restart
)

// Challenge asks for what an order has to answer. It is no order itself.
const Challenge = "challenge"

// Actions are all there are.
var Actions = []string{Status, Check, Apply, Rollback, Hold, Resume, Disks, Install, Reset}

// Looks says whether an action changes nothing.
func Looks(do string) bool { return do == Status || do == Check || do == Disks }

// Destroys says whether an action takes an admin who signs it, on any node: whoever
// has taken plasmd over may ask as the holder of the token does.
func Destroys(do string) bool { return do == Install || do == Reset }

const (
	// MaxOrder is the largest order with its envelope, in bytes.
	MaxOrder = 8 << 10
	// ChallengeBytes is how long a challenge is.
	ChallengeBytes = 16
	// Lifetime is how long a challenge may be answered.
	Lifetime = time.Minute
	maxText  = 128
)

// Order is what an admin asks of one node, once.
type Order struct {
	Node    string `json:"node"` // peer id
	Do      string `json:"do"`
	Release string `json:"release,omitempty"` // apply: only this one, sha256:…
	Disk    string `json:"disk,omitempty"`    // install: the device, as disks names it
	Erase   string `json:"erase,omitempty"`   // what is lost, a second time: install: the same device; reset: the node
	// Challenge is what the node has given for this order and for no other, so that
	// an order of another day cannot be given to it, whatever the clocks say.
	Challenge []byte `json:"challenge"`
}

// Sign wraps an order in an envelope that sign, the admin's identity, signs.
func (o Order) Sign(sign func(payloadType string, payload []byte) ([]byte, error)) ([]byte, error) {
	payload, err := strictjson.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("writing an order: %w", err)
	}
	data, err := sign(PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("signing an order: %w", err)
	}
	return data, nil
}

// parse reads the payload of an order.
func parse(payload []byte) (Order, error) {
	var o Order
	if err := strictjson.Unmarshal(payload, &o, strictjson.RejectUnknown); err != nil {
		return o, refuse(InvalidRequest, "reading the order: %v", err)
	}
	switch {
	case !slices.Contains(Actions, o.Do):
		return o, refuse(InvalidRequest, "the order does not say which of %q is to be done", Actions)
	case len(o.Challenge) != ChallengeBytes:
		return o, refuse(InvalidRequest, "the challenge of the order must be the base64 of %d bytes", ChallengeBytes)
	case max(len(o.Node), len(o.Release), len(o.Disk), len(o.Erase)) > maxText:
		return o, refuse(InvalidRequest, "a name in the order has more than %d bytes", maxText)
	}
	return o, o.fits()
}

// Asked is what an order asks for, without whom.
func (o Order) Asked() Question {
	return Question{Do: o.Do, Release: o.Release, Disk: o.Disk, Erase: o.Erase}
}

// fits refuses what an action has no use for, and what is destroyed without having
// been named twice.
func (o Order) fits() error { return o.Asked().fits() }

// maxGiven is how many challenges may wait for their order. More are asked for only
// by what is on this node, so the oldest gives way.
const maxGiven = 64

// Gate lets orders in. It is for one goroutine.
type Gate struct {
	node   string
	admins map[string]string            // key id to peer id
	keys   map[string]ed25519.PublicKey // by key id
	random io.Reader
	given  []given // oldest first
}

// given is a challenge that no order has answered yet.
type given struct {
	challenge []byte
	at        time.Time
}

// NewGate is the gate of a node, "" for one without a lasting peer id, whose
// admins are named by their peer ids. What another gate has given, as that of the
// program before this one, is no challenge of this one.
func NewGate(node string, admins map[string]ed25519.PublicKey, random io.Reader) *Gate {
	g := &Gate{node: node, admins: map[string]string{}, keys: map[string]ed25519.PublicKey{}, random: random}
	for peer, key := range admins {
		id := envelope.KeyID(key)
		g.admins[id], g.keys[id] = peer, key
	}
	return g
}

// errNoNode refuses all orders.
var errNoNode = Refusef(NotAuthorized, "this node has a new peer id at each start, so no order can be for it")

// Challenge is what the next order has to answer. Now, here and in Admit, is a time
// that setting the clock does not change (time.Now).
func (g *Gate) Challenge(now time.Time) ([]byte, error) {
	if g.node == "" {
		return nil, errNoNode
	}
	challenge := make([]byte, ChallengeBytes)
	if _, err := io.ReadFull(g.random, challenge); err != nil {
		return nil, fmt.Errorf("making a challenge: %w", err)
	}
	g.given = append(g.given, given{challenge, now})
	g.given = g.given[max(0, len(g.given)-maxGiven):]
	return challenge, nil
}

// Admit returns an order that is for this node, signed by one of its admins, and
// the answer to a challenge that nothing has answered yet, and the peer id of that
// admin. The error is a *Refused.
func (g *Gate) Admit(data []byte, now time.Time) (o Order, by string, err error) {
	if len(data) > MaxOrder {
		return o, "", refuse(InvalidRequest, "an order has at most %d KiB", MaxOrder>>10)
	}
	env, err := envelope.Parse(data)
	if err != nil {
		return o, "", refuse(InvalidRequest, "%v", err)
	}
	if env.PayloadType != PayloadType {
		return o, "", refuse(InvalidRequest, "payload type %.80q is not %q", env.PayloadType, PayloadType)
	}
	signed := env.SignedBy(g.keys)
	if len(signed) == 0 {
		return o, "", refuse(NotAuthorized, "no admin of this node has signed the order; its admins are set when it is flashed (phase.admin=PEER,…)")
	}
	by = g.admins[signed[0]]
	if o, err = parse(env.Payload); err != nil {
		return o, by, err
	}
	return o, by, g.answers(o, now)
}

// answers refuses an order that is for another node, or answers no challenge.
func (g *Gate) answers(o Order, now time.Time) error {
	switch {
	case g.node == "":
		return errNoNode
	case o.Node != g.node:
		return refuse(NotAuthorized, "the order is for %.60q, this node is %s", o.Node, g.node)
	}
	g.given = slices.DeleteFunc(g.given, func(one given) bool { return now.Sub(one.at) >= Lifetime })
	i := slices.IndexFunc(g.given, func(one given) bool { return bytes.Equal(one.challenge, o.Challenge) })
	if i < 0 {
		return refuse(NotAuthorized, "the order answers no challenge that this node waits for: it was here before, or is from before this node's last start, or came more than %v after its challenge; give it anew", Lifetime)
	}
	g.given = slices.Delete(g.given, i, i+1)
	return nil
}
