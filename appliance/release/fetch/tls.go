package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// dialTLS reaches a provider by https. A node has no certificates of its own,
// so the public ones are built in and used where the system has none; they are
// parsed at the first https provider, since most nodes never meet one. TLS adds
// privacy, not trust: what comes is verified all the same.
func dialTLS(dialer *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		publicRoots()
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return (&tls.Dialer{NetDialer: dialer}).DialContext(ctx, network, addr)
	}
}

// publicRoots gives the process the certificates of Mozilla's root programme
// as a fallback, once.
var publicRoots = sync.OnceFunc(func() { x509.SetFallbackRoots(parseRoots()) })

func parseRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		// One that this Go cannot read is one authority fewer, no reason to
		// have none.
		cert, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil:
		case root.Constraint == nil:
			pool.AddCert(cert)
		default:
			pool.AddCertWithConstraint(cert, root.Constraint)
		}
	}
	return pool
}
