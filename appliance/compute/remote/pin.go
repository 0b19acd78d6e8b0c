package remote

import (
	"phase/appliance/base/identity"
	"phase/appliance/compute/receipt"
)

// pinOf is the pin of a peer.
func pinOf(peerID string) (receipt.Pin, error) {
	key, err := identity.ParsePeerID(peerID)
	return receipt.Pin{PeerID: peerID, Key: key}, err
}
