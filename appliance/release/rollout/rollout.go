// Package rollout says which nodes take a release that is offered to a part of
// a fleet first. The part is a percentage in the signed manifest; whether a
// node is in it follows from a hash of its peer id alone, so nobody keeps a
// list, every reader comes to the same answer, and a node that was in stays in
// when the percentage is raised.
package rollout

import (
	"crypto/sha256"
	"encoding/binary"

	"phase/appliance/release/manifest"
)

// prefix keeps the hash apart from all others that are taken of peer ids.
const prefix = "phase rollout v1"

// Takes says whether the node with this peer id is among those that take the
// release; all do when its manifest names no rollout. The answer depends on the
// seed and the node, and not on the version: without a seed of its own a release
// has the digest of its rootfs for one, which stays when the same artifacts are
// signed again with another percentage.
func Takes(m manifest.Manifest, node string) bool {
	if m.Rollout == nil {
		return true
	}
	return Place(Seed(m), node) < uint64(m.Rollout.Percent)<<32/100
}

// Seed is what the places of nodes are drawn with for a release.
func Seed(m manifest.Manifest) string {
	if m.Rollout != nil && m.Rollout.Seed != "" {
		return m.Rollout.Seed
	}
	return m.Artifacts["rootfs"].SHA256.String()
}

// Place is the place of a node in the order in which a fleet takes a release,
// from 0 to 2^32-1: the first four bytes, as a big-endian number, of SHA-256
// over "phase rollout v1", the seed and the peer id, each ended by a line feed.
// The node is in once percent * 2^32 / 100, rounded down, is above its place.
func Place(seed, node string) uint64 {
	sum := sha256.Sum256([]byte(prefix + "\n" + seed + "\n" + node + "\n"))
	return uint64(binary.BigEndian.Uint32(sum[:4]))
}
