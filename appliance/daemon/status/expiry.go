package status

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"phase/appliance/release/trust"
)

// RootInfo is the newest root that the node knows.
type RootInfo struct {
	Version uint64    `json:"version"`
	Expires time.Time `json:"expires"`
	Digest  string    `json:"digest"` // of its payload
}

// newestRoot is the last root that follows those the node was started with.
func (s *Status) newestRoot() trust.Root { return s.Store.LastRoot(s.Root) }

// Endings says what expires soon of what the node goes by, or has expired: the
// newest root, and the newest release of each channel and arch that it holds. It
// is empty while there is time.
func (s *Status) Endings() []string {
	var list []string
	now := s.Now()
	say := func(what string, expires time.Time) {
		if ending := trust.Ending(what, expires, now); ending != "" {
			list = append(list, ending)
		}
	}
	if root := s.newestRoot(); root.Version() > 0 {
		say(fmt.Sprintf("root version %d", root.Version()), root.Expires())
	}
	for _, r := range s.Store.Latest() {
		m := r.Manifest()
		say(fmt.Sprintf("release %s/%s version %d", m.Channel, m.Arch, m.Version), m.Expires)
	}
	return list
}

// root is the part of the report about the newest root.
func (s *Status) root() *RootInfo {
	root := s.newestRoot()
	if root.Version() == 0 {
		return nil
	}
	return &RootInfo{root.Version(), root.Expires(), root.Digest().String()}
}

// expiries collects when what the node goes by expires.
type expiries struct{ *Status }

var (
	rootVersionDesc    = prometheus.NewDesc("phase_root_version", "Version of the newest root known.", nil, nil)
	rootExpiresDesc    = prometheus.NewDesc("phase_root_expires_timestamp_seconds", "When the newest root known expires, in seconds since 1970.", nil, nil)
	releaseExpiresDesc = prometheus.NewDesc("phase_release_expires_timestamp_seconds", "When a release held expires, in seconds since 1970.", []string{"channel", "arch"}, nil)
)

func (e expiries) Describe(ch chan<- *prometheus.Desc) {
	ch <- rootVersionDesc
	ch <- rootExpiresDesc
	ch <- releaseExpiresDesc
}

func (e expiries) Collect(ch chan<- prometheus.Metric) {
	if root := e.newestRoot(); root.Version() > 0 {
		ch <- prometheus.MustNewConstMetric(rootVersionDesc, prometheus.GaugeValue, float64(root.Version()))
		ch <- prometheus.MustNewConstMetric(rootExpiresDesc, prometheus.GaugeValue, float64(root.Expires().Unix()))
	}
	for _, r := range e.Store.Latest() {
		m := r.Manifest()
		ch <- prometheus.MustNewConstMetric(releaseExpiresDesc, prometheus.GaugeValue, float64(m.Expires.Unix()), m.Channel, m.Arch)
	}
}
