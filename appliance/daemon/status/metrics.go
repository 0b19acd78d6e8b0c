package status

import (
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are counted in a registry of their own, so that what a library puts
// into the default one is not shown, and two nodes in one process do not meet.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	total    atomic.Int64
	bytes    atomic.Int64
	inFlight atomic.Int64
}

func newMetrics(s *Status) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "phase_http_requests_total", Help: "HTTP requests answered, by status code.",
	}, []string{"code"})
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests,
		counter("phase_http_sent_bytes_total", "Bytes of HTTP bodies sent.", func() float64 { return float64(m.bytes.Load()) }),
		gauge("phase_http_requests_in_flight", "HTTP requests being answered.", func() float64 { return float64(m.inFlight.Load()) }),
		gauge("phase_uptime_seconds", "Seconds since the program started.", func() float64 { return s.Now().Sub(s.started).Seconds() }),
		gauge("phase_healthy", "1 when every health check is ok.", func() float64 {
			if s.Health().Status == "healthy" {
				return 1
			}
			return 0
		}),
		held{s},
		expiries{s},
		table{s},
	)
	return m
}

// Registry takes the figures of other parts of the program.
func (s *Status) Registry() prometheus.Registerer { return s.metrics.registry }

// Counts shows counts that somebody else keeps, which only grow, each under the
// value of a label. A registerer that is nil shows nothing.
func Counts(to prometheus.Registerer, name, help, label string, counts func() map[string]uint64) error {
	if to == nil {
		return nil
	}
	return to.Register(kept{prometheus.NewDesc(name, help, []string{label}, nil), counts})
}

// kept collects counts.
type kept struct {
	desc   *prometheus.Desc
	counts func() map[string]uint64
}

func (k kept) Describe(ch chan<- *prometheus.Desc) { ch <- k.desc }

func (k kept) Collect(ch chan<- prometheus.Metric) {
	for label, n := range k.counts() {
		ch <- prometheus.MustNewConstMetric(k.desc, prometheus.CounterValue, float64(n), label)
	}
}

func (m *metrics) handler() http.Handler {
	text := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		text.ServeHTTP(w, r)
	})
}

// sums are the figures of "metrics" in /status.
func (m *metrics) sums() map[string]int64 {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return map[string]int64{
		"http_requests":           m.total.Load(),
		"http_sent_bytes":         m.bytes.Load(),
		"http_requests_in_flight": m.inFlight.Load(),
		"goroutines":              int64(runtime.NumGoroutine()),
		"memory_bytes":            int64(mem.Sys - mem.HeapReleased),
	}
}

// held collects what the store holds at the moment of the question.
type held struct{ *Status }

var (
	versionDesc = prometheus.NewDesc("phase_release_version", "Version of a release held.", []string{"channel", "arch"}, nil)
	sizeDesc    = prometheus.NewDesc("phase_release_size_bytes", "Bytes of the artifacts of a release held.", []string{"channel", "arch"}, nil)
)

func (h held) Describe(ch chan<- *prometheus.Desc) { ch <- versionDesc; ch <- sizeDesc }

func (h held) Collect(ch chan<- prometheus.Metric) {
	for _, r := range h.Store.Latest() {
		m, size := releaseInfo(r), int64(0)
		for _, a := range m.Artifacts {
			size += a.Size
		}
		ch <- prometheus.MustNewConstMetric(versionDesc, prometheus.GaugeValue, float64(m.Version), m.Channel, m.Arch)
		ch <- prometheus.MustNewConstMetric(sizeDesc, prometheus.GaugeValue, float64(size), m.Channel, m.Arch)
	}
}

// Count wraps a handler so that its requests are counted.
func (s *Status) Count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &counting{ResponseWriter: w, metrics: s.metrics}
		s.metrics.inFlight.Add(1)
		defer c.end() // because a broken-off answer leaves by a panic
		next.ServeHTTP(c, r)
	})
}

// counting is a ResponseWriter that counts; Unwrap lets a ResponseController
// through to the connection.
type counting struct {
	http.ResponseWriter
	metrics *metrics
	code    int
}

func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counting) end() {
	c.metrics.inFlight.Add(-1)
	c.metrics.total.Add(1)
	c.metrics.requests.WithLabelValues(strconv.Itoa(max(c.code, http.StatusOK))).Inc()
}

func (c *counting) WriteHeader(code int) {
	if c.code == 0 && code >= 200 {
		c.code = code
	}
	c.ResponseWriter.WriteHeader(code)
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.metrics.bytes.Add(int64(n))
	return n, err
}

// WriteString saves the copy that a text would else be sent as.
func (c *counting) WriteString(text string) (int, error) {
	n, err := io.WriteString(c.ResponseWriter, text)
	c.metrics.bytes.Add(int64(n))
	return n, err
}
