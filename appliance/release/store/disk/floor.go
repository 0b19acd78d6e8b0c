package disk

import (
	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/trust"
)

func floorName(channel, arch string) string { return channel + "-" + arch + ".json" }

// Floor is the newest release of a channel for an arch that was ever verified
// here: nothing older is taken from the network. It counts only while root
// vouches for it, so that a new root without a stolen key takes back what that
// key has signed. False: there is none.
func (s *Store) Floor(root trust.Root, channel, arch string) (trust.Verified, bool) {
	data, err := statefile.ReadCapped(s.join(floorFolder, floorName(channel, arch)), envelope.MaxBytes)
	if err != nil {
		return trust.Verified{}, false
	}
	v, err := root.VerifyHeld(data, channel, arch)
	return v, err == nil
}

// RaiseFloor notes a release that was verified, if it is newer than the floor.
func (s *Store) RaiseFloor(root trust.Root, v trust.Verified) error {
	m := v.Manifest()
	if floor, ok := s.Floor(root, m.Channel, m.Arch); ok && floor.Manifest().Version >= m.Version {
		return nil
	}
	return statefile.Replace(s.join(floorFolder, floorName(m.Channel, m.Arch)), v.Envelope(), 0o644)
}

// AddRoot keeps a root that follows the one in the rootfs. Those who read it walk
// the chain again.
func (s *Store) AddRoot(r trust.Root) error {
	path := s.join(layout.Root(r.Version()))
	if data, err := statefile.ReadCapped(path, envelope.MaxBytes); err == nil && string(data) == string(r.Raw()) {
		return nil
	}
	return statefile.Replace(path, r.Raw(), 0o644)
}

// Path is the folder of the store; layout.RootFolder in it has the roots.
func (s *Store) Path() string { return s.path }
