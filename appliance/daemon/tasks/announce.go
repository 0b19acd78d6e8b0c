package tasks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"phase/appliance/network/lan"
	"phase/appliance/release/store"
)

// goodbyeTime is how long the announcer gets to take back what it said.
const goodbyeTime = 2 * time.Second

// Announcing announces the newest release of each channel and arch in a store
// on the local network, that of channel and arch first, and the node as a peer
// once its network, which may be nil, is ready. It is ready once the
// first announcement is on its way. What goes wrong is a problem and no end.
func Announcing(as lan.Config, s *store.Store, channel, arch string, network *Network, problems *Problems) Task {
	return New(func(ctx context.Context, ready func()) error {
		failed := func(err error) { problems.Add(fmt.Errorf("announcing on the network: %w", err)) }
		announcer, err := lan.Announce(ctx, as)
		if err != nil {
			failed(err)
			<-ctx.Done()
			return nil
		}
		if network != nil {
			go network.announce(ctx, announcer, as.Fleet)
		}
		for ctx.Err() == nil {
			changed := s.Changed()
			if err := announcer.SetInstances(served(as, s, channel, arch)); err != nil {
				failed(err)
			}
			ready()
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		select {
		case <-announcer.Done():
		case <-time.After(goodbyeTime):
		}
		return nil
	})
}

// served are the instances to announce; none where there is no HTTP to get them by.
func served(as lan.Config, s *store.Store, channel, arch string) []lan.Instance {
	if as.Port == 0 {
		return nil
	}
	return instances(s, channel, arch)
}

// instances are the newest of each channel and arch, that of channel and arch
// first.
func instances(s *store.Store, channel, arch string) []lan.Instance {
	var list []lan.Instance
	for _, r := range s.Latest() {
		m := r.Manifest()
		i := lan.Instance{Channel: m.Channel, Arch: m.Arch, Version: m.Version}
		if m.Channel == channel && m.Arch == arch {
			list = slices.Insert(list, 0, i)
		} else {
			list = append(list, i)
		}
	}
	return list
}
