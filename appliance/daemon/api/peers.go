package api

import (
	"context"
	"net/http"

	"phase/appliance/base/problem"
	"phase/appliance/network/capability"
	"phase/appliance/network/peer"
)

// Peers is the answer of GET /v1/peers.
type Peers struct {
	Peer         string      `json:"peer"`          // the node's own peer id
	Addresses    []string    `json:"addresses"`     // where others reach it, with the peer id
	Reachability string      `json:"reachability"`  // from the internet: public, private or unknown
	RoutingTable int         `json:"routing_table"` // peers in the DHT's table
	Peers        []Connected `json:"peers"`         // that are connected
}

// Connected is a peer that is connected, with what it says it can do and holds, which
// it has signed; nil when it did not answer.
type Connected struct {
	peer.Info
	Capability *capability.Record `json:"capability"`
	Signed     []byte             `json:"signed,omitempty"` // the same, as the peer has signed it
}

// peers answers GET /v1/peers.
func (c Config) peers(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	if c.Peers == nil {
		problem.Write(w, http.StatusNotFound, "this node has no part in the network of nodes: it was started with --network off")
		return nil
	}
	return reply(w, http.StatusOK, c.Peers(r.Context()))
}

// Peers asks who is connected to the node.
func (c *Client) Peers(ctx context.Context) (p Peers, err error) {
	return p, c.call(ctx, http.MethodGet, "/v1/peers", &p)
}
