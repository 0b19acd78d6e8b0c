package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"phase/appliance/release/provide"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
	"phase/qemu"
)

// Provider serves releases from a host on the segment, as a laptop beside the
// machines would: it costs no machine of its own. It announces nothing; the
// settings of the nodes name it.
type Provider struct {
	// Setting is the word of phase.conf or the command line that names it to a
	// node, over the node's first NIC, and URL what the node calls it.
	Setting, URL string
	// Store may be given more releases.
	Store *store.Store

	host *qemu.Host
	stop context.CancelFunc
	done chan error
}

// Provide serves releases until Close.
func Provide(ctx context.Context, s *qemu.Segment, releases ...Release) (*Provider, error) {
	return ProvideThrough(ctx, s, func(h http.Handler) http.Handler { return h }, releases...)
}

// ProvideThrough is Provide with something between the provider and those who
// ask: to count, to hold back, to die.
func ProvideThrough(ctx context.Context, s *qemu.Segment, between func(http.Handler) http.Handler, releases ...Release) (*Provider, error) {
	p := &Provider{Store: store.New(), done: make(chan error, 1)}
	for _, r := range releases {
		if err := p.Add(ctx, r); err != nil {
			return nil, err
		}
	}
	var err error
	if p.host, err = s.NewHost("provider"); err != nil {
		return nil, err
	}
	l, err := p.host.Listen("[::]:8080")
	if err != nil {
		p.host.Close()
		return nil, err
	}
	// The node's name for the segment; a zone stands in a URL as RFC 6874 has it.
	p.URL = "http://" + net.JoinHostPort(p.host.Addr6().String()+"%25eth0", "8080")
	p.Setting = "phase.provider=" + p.URL
	ctx, p.stop = context.WithCancel(ctx)
	server := provide.NewServer(between(provide.Handler(provide.Config{Store: p.Store, Channel: "stable"})))
	go func() {
		p.done <- provide.Serve(ctx, server, l, time.Second)
		close(p.done) // Close may be called again
	}()
	return p, nil
}

// Add verifies a release under its own root, hashes it and serves it.
func (p *Provider) Add(ctx context.Context, r Release) error {
	v, err := r.Root.VerifyHeld(r.Envelope, trust.Any, trust.Any)
	if err != nil {
		return fmt.Errorf("verifying version %d: %w", r.Manifest.Version, err)
	}
	sources := map[string]store.Source{}
	for name := range r.Manifest.Artifacts {
		sources[name] = store.File(r.File(name))
	}
	return p.Store.Add(ctx, v, sources)
}

// Close takes the provider off the segment.
func (p *Provider) Close() error {
	p.stop()
	err := <-p.done
	if e := p.host.Close(); err == nil {
		err = e
	}
	return err
}

// Port is the provider's place on the segment, to cut it off.
func (p *Provider) Port() *qemu.Port { return p.host.Port() }
