package kept

import (
	"phase/appliance/base/names"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// Older is the newest good release in the store that is older than the one that
// runs: what the owner goes back to. False: there is none.
func (k *Keeper) Older() (trust.Verified, bool) {
	running := k.Running.Manifest()
	for _, c := range k.List() {
		m := c.Manifest()
		if c.Record.Good && c.Whole() && m.Channel == running.Channel && m.Version < running.Version {
			return c.Verified, true
		}
	}
	return trust.Verified{}, false
}

// Moving notes that the owner asks for a release while he keeps the node on
// another: see disk.Pin.
func (k *Keeper) Moving(v trust.Verified) error {
	pin := k.Store.Pin()
	if pin.Release.IsZero() || pin.Release == v.Digest() {
		return nil
	}
	pin.Next = v.Digest()
	return k.Store.SetPin(pin)
}

// SettlePin has the node kept on the release that the owner asked for last, once
// that is good, and on the one before it once that has failed.
func (k *Keeper) SettlePin() error {
	pin := k.Store.Pin()
	if pin.Next.IsZero() {
		return nil
	}
	record, err := k.Journal().Find(pin.Next)
	if err != nil {
		return err
	}
	switch {
	case record.Good && k.Running.Digest() == pin.Next:
		return k.Store.SetPin(disk.Pin{Release: pin.Next, Version: k.Running.Manifest().Version, By: pin.By, At: pin.At})
	case record.State() == trial.Bad:
		pin.Next = names.Digest{}
		return k.Store.SetPin(pin)
	}
	return nil
}
