// Package values is the library's store of records in the DHT, with room for so
// many only. Those of the node's own fleet always have room: a channel and an
// arch each, there are few. Of the others, those whose keys are closest to the
// node stay, so that the nodes of a network together hold all of them, and a
// crowd of fleets that someone made up pushes out no more than its share at
// each node.
package values

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"path"

	"github.com/ipfs/go-datastore"

	"phase/appliance/release/record"
)

// What a node keeps of other fleets. A record has a few KiB, 64 at most.
const (
	maxRecords     = 256
	maxRecordBytes = 4 << 20
)

var errFar = errors.New("no room: the records held are closer")

// Values is a datastore for the library, which puts its own lock around it: it
// is not safe for concurrent use.
type Values struct {
	*datastore.MapDatastore
	self  [sha256.Size]byte // the node's place
	fleet string            // its own; "" for none
	held  map[datastore.Key]held
	bytes int // of other fleets
	count int
}

type held struct {
	distance [sha256.Size]byte
	size     int
	own      bool
}

// New is for the node with that peer id, in its binary form, and that fleet, ""
// for none.
func New(id, fleet string) *Values {
	return &Values{MapDatastore: datastore.NewMapDatastore(), self: sha256.Sum256([]byte(id)), fleet: fleet, held: map[datastore.Key]held{}}
}

// Put makes room and keeps the value, or refuses it when it is the farthest.
func (v *Values) Put(ctx context.Context, key datastore.Key, value []byte) error {
	name, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(path.Base(key.String()))
	if err != nil {
		return err
	}
	parsed, err := record.ParseKey(string(name))
	if err != nil {
		return err
	}
	h := held{size: len(value), own: v.fleet != "" && parsed.Fleet == v.fleet}
	at := sha256.Sum256(name)
	for i := range at {
		h.distance[i] = at[i] ^ v.self[i]
	}
	old, known := v.held[key]
	v.drop(key)
	for !h.own && (v.count+1 > maxRecords || v.bytes+h.size > maxRecordBytes) {
		far, ok := v.farthest(h)
		if !ok {
			if known { // the smaller one it replaces stays
				v.add(key, old)
			}
			return errFar
		}
		if err := v.Delete(ctx, far); err != nil {
			return err
		}
	}
	v.add(key, h)
	return v.MapDatastore.Put(ctx, key, value)
}

// farthest is the record of another fleet farthest from the node, if there is
// one farther than h.
func (v *Values) farthest(h held) (key datastore.Key, ok bool) {
	for k, other := range v.held {
		if !other.own && bytes.Compare(other.distance[:], h.distance[:]) > 0 {
			key, h, ok = k, other, true
		}
	}
	return key, ok
}

func (v *Values) add(key datastore.Key, h held) {
	v.held[key] = h
	if !h.own {
		v.count++
		v.bytes += h.size
	}
}

func (v *Values) drop(key datastore.Key) {
	if h, ok := v.held[key]; ok && !h.own {
		v.count--
		v.bytes -= h.size
	}
	delete(v.held, key)
}

// Delete forgets a value.
func (v *Values) Delete(ctx context.Context, key datastore.Key) error {
	v.drop(key)
	return v.MapDatastore.Delete(ctx, key)
}

// Len is how many records are held, of all fleets.
func (v *Values) Len() int { return len(v.held) }

// Bytes is how much those of other fleets take.
func (v *Values) Bytes() int { return v.bytes }
