package modulecache

import "phase/appliance/base/names"

// Held reports whether a module can be run for a requester by its digest alone:
// this requester has sent it before, and it is still kept.
func (c *Cache) Held(requester string, module names.Digest) bool {
	_, release := c.get(keyOf(requester, module))
	if release != nil {
		release()
	}
	return release != nil
}
