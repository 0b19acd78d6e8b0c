// Package ondisk brings the releases of storetest into a store on disk.
package ondisk

import (
	"phase/appliance/release/store/disk"
	"phase/tests/storetest"
)

// Keep brings a release into a store on disk as a download does.
func Keep(s *disk.Store, r storetest.Release) error {
	d, err := s.Begin(r.Verified)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, name := range d.Missing() {
		region, err := d.Region(name, int64(len(r.Bytes[name])))
		if err != nil {
			return err
		}
		if _, err := region.WriteAt(r.Bytes[name], 0); err != nil {
			return err
		}
	}
	return d.Commit()
}
