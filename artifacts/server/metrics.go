package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what Prometheus hears.
type metrics struct {
	requests         *prometheus.CounterVec // by method, kind, code
	lookups          *prometheus.CounterVec // by kind, result
	seconds          *prometheus.HistogramVec
	received, sent   prometheus.Counter
	refused, corrupt prometheus.Counter
	collected        prometheus.Counter
	handler          http.Handler
}

func newMetrics(q *quota, serving chan struct{}) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "prismflow_cache_" + name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prismflow_cache_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "prismflow_cache_" + name, Help: help}, value)
	}
	m := &metrics{
		requests: vector("requests_total", "Requests, by what was asked and answered.", "method", "kind", "code"),
		lookups:  vector("lookups_total", "Of GET and HEAD, those that found what they asked for and those that did not.", "kind", "result"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "prismflow_cache_request_seconds", Help: "How long requests took, bodies included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"method", "kind"}),
		received:  counter("received_bytes_total", "Bytes of bodies that came in, as they were on the wire."),
		sent:      counter("sent_bytes_total", "Bytes of bodies that went out, as they were on the wire."),
		refused:   counter("refused_uploads_total", "Uploads whose bytes were not what their name says."),
		corrupt:   counter("corrupt_blobs_total", "Blobs that were damaged in the store, and are taken out of it."),
		collected: counter("collected_bytes_total", "Bytes of blobs removed to keep to the size of the cache."),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.lookups, m.seconds, m.received, m.sent, m.refused, m.corrupt, m.collected,
		gauge("stored_bytes", "Size of the cache, measured every few minutes.", func() float64 { return float64(q.used()) }),
		gauge("in_flight", "Requests being served.", func() float64 { return float64(len(serving)) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

// observe counts a request that ended.
func (m *metrics) observe(x *exchange) {
	method, kind := methodLabel(x.r.Method), string(x.target.kind)
	m.requests.WithLabelValues(method, kind, strconv.Itoa(x.status)).Inc()
	m.seconds.WithLabelValues(method, kind).Observe(time.Since(x.began).Seconds())
	m.received.Add(float64(x.body.read))
	m.sent.Add(float64(x.sent))
	if method != "GET" && method != "HEAD" || x.target.kind != blobs && x.target.kind != actions {
		return
	}
	switch {
	case x.status < 400:
		m.lookups.WithLabelValues(kind, "hit").Inc()
	case x.status == http.StatusNotFound:
		m.lookups.WithLabelValues(kind, "miss").Inc()
	}
}

// methodLabel keeps what a client makes up out of logs and labels.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut:
		return method
	}
	return "other"
}
