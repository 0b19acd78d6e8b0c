package peer

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/prometheus/client_golang/prometheus"
)

// What a node of 512 MB gives to the network.
const (
	lowConns     = 48       // connections that are kept when there are too many
	highConns    = 96       // connections above which some are closed
	libraryBytes = 64 << 20 // memory the library may count as its own
	libraryFiles = 512      // descriptors of connections
	perIP        = 32       // connections of one IPv4 address, or one /56
	maxAddresses = 8192     // of peers, remembered in memory
)

// Limits of a relay that are fit for jobs: a job may take an hour, and its
// module, input and output together have at most 160 MiB.
const (
	relayTime = 2 * time.Hour
	relayData = 256 << 20 // bytes, each way
)

// newLimits makes what refuses connections and streams beyond the limits.
func newLimits(metrics prometheus.Registerer) (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	limits.SystemBaseLimit.ConnsInbound, limits.SystemBaseLimit.ConnsOutbound, limits.SystemBaseLimit.Conns = 2*highConns, 2*highConns, 3*highConns
	var options []rcmgr.Option
	if metrics != nil {
		rcmgr.MustRegisterWith(metrics)
		reporter, err := rcmgr.NewStatsTraceReporter()
		if err != nil {
			return nil, err
		}
		options = append(options, rcmgr.WithTraceReporter(reporter))
	} else {
		options = append(options, rcmgr.WithMetricsDisabled())
	}
	options = append(options, rcmgr.WithLimitPerSubnet(
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perIP}},
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perIP}, {PrefixLength: 48, ConnCount: 2 * perIP}}))
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.Scale(libraryBytes, libraryFiles)), options...)
}

func relayResources() relay.Resources {
	r := relay.DefaultResources()
	r.Limit = &relay.RelayLimit{Duration: relayTime, Data: relayData}
	r.BufferSize = 16 << 10
	r.MaxReservationsPerIP = perIP
	return r
}
