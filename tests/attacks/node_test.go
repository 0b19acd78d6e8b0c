package attacks

import (
	"errors"
	"fmt"
	"testing"

	"phase/tests/await"
	"phase/tests/barenode"
)

// The node's own address, and its first provider's.
const (
	nodeAddress     = "10.9.0.2"
	strangerAddress = "10.9.0.3"
	honestAddress   = "10.9.0.4"
)

// node is a node that is attacked.
type node struct{ *barenode.Node }

// newNode is a node with the running release of a project on its stub, and the
// providers that its owner named.
func newNode(t *testing.T, p *project, providers ...string) *node {
	t.Helper()
	return &node{barenode.New(t, barenode.Config{Program: phase(t), Signer: p.Signer, Running: p.running, Providers: providers})}
}

// well says whether the node still runs, serves and shows what it ran at first.
func (n *node) well(t *testing.T, p *project) error {
	t.Helper()
	var last error
	err := await.Until(t.Context(), func() bool {
		data, err := n.Get(t.Context(), "/manifest.json")
		if last = err; err != nil {
			return false
		}
		if s := n.Status(t); string(data) != string(p.running.Envelope()) || s.Release.Version != runningVersion || s.Health.Status != "healthy" {
			last = fmt.Errorf("/status shows %+v", s)
			return false
		}
		return true
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}
