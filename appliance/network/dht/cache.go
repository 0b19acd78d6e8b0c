package dht

import "github.com/hashicorp/golang-lru/simplelru"

// noCache keeps the library from holding lists of providers beside the store,
// where nothing would bound them. Only what it calls is there.
type noCache struct{ simplelru.LRUCache }

// Get finds nothing.
func (noCache) Get(any) (any, bool) { return nil, false }

// Add keeps nothing.
func (noCache) Add(any, any) bool { return false }
