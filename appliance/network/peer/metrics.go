package peer

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what this package decides; the library counts the rest.
type metrics struct{ paths *prometheus.CounterVec }

func newMetrics(n *Node) *metrics {
	m := &metrics{paths: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "phase_peer_paths_total", Help: "Peers that came to be reached, by path.",
	}, []string{"path"})}
	if n.config.Metrics == nil {
		return m
	}
	n.config.Metrics.MustRegister(m.paths,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "phase_peers_connected", Help: "Peers that are connected."},
			func() float64 { return float64(len(n.host.Network().Peers())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "phase_network_public", Help: "1 when others can dial this node from the internet."},
			func() float64 { return float64(btoi(n.Reachability() == Public)) }))
	return m
}

func (m *metrics) path(p Path) { m.paths.WithLabelValues(string(p)).Inc() }
