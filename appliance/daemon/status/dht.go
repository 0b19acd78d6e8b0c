package status

import "github.com/prometheus/client_golang/prometheus"

// table collects what the node holds for the DHT at the moment of the question.
type table struct{ *Status }

var (
	tableDesc     = prometheus.NewDesc("phase_dht_routing_table_peers", "Peers in the DHT's routing table.", nil, nil)
	recordsDesc   = prometheus.NewDesc("phase_dht_records", "Records held for the DHT.", nil, nil)
	foreignDesc   = prometheus.NewDesc("phase_dht_foreign_record_bytes", "Bytes of the records of other fleets.", nil, nil)
	providersDesc = prometheus.NewDesc("phase_dht_provider_entries", "Entries of who provides what, held for the DHT.", nil, nil)
	refusedDesc   = prometheus.NewDesc("phase_dht_refused_records_total", "Records that did not prove themselves, by code.", []string{"code"}, nil)
)

func (table) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{tableDesc, recordsDesc, foreignDesc, providersDesc, refusedDesc} {
		ch <- d
	}
}

func (t table) Collect(ch chan<- prometheus.Metric) {
	if t.Table == nil || t.Table() == nil {
		return
	}
	s := t.Table().Stats()
	for d, n := range map[*prometheus.Desc]int{tableDesc: s.RoutingTable, recordsDesc: s.Records, foreignDesc: s.RecordBytes, providersDesc: s.Providers} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	for code, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), string(code))
	}
}
