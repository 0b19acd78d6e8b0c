package fetch

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"phase/appliance/base/refusal"
)

// TestHTTPSIsVerified: a certificate nobody public vouches for is refused.
func TestHTTPSIsVerified(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	_, err := Manifest(t.Context(), NewClient(), server.URL, "stable", "x86_64")
	if refusal.CodeOf(err) != refusal.Unreachable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Manifest over https from a stranger: %v", err)
	}
}

func TestPublicRootsAreThere(t *testing.T) {
	if parseRoots().Equal(x509.NewCertPool()) {
		t.Error("there are no built-in certificates")
	}
}
