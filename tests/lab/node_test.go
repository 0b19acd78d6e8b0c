package lab

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"phase/qemu"
)

// A host that answers only after the stack has given its address up is reached.
func TestReachesALateHost(t *testing.T) {
	s, err := qemu.NewSegment()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	addr := qemu.EUI64(net.HardwareAddr{2, 0, 0, 0, 0, 2}) // of the next host after the observer
	var asked atomic.Int64
	given := make(chan struct{})
	if _, err := s.Tap("ear", func(f []byte) {
		// ICMPv6, a neighbour solicitation (RFC 4861 §4.3); three, and there is no way.
		if len(f) > 54 && f[12] == 0x86 && f[20] == 58 && f[54] == 135 && asked.Add(1) == 5 {
			close(given)
		}
	}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		<-given
		h, err := s.NewHost("late")
		if err != nil {
			served <- err
			return
		}
		l, err := h.Listen("[::]:8080")
		if err != nil {
			served <- err
			return
		}
		if h.Addr6() != addr {
			t.Errorf("the late host is %s, not %s", h.Addr6(), addr)
		}
		served <- http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(addr.String(), "8080"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := patient(s).Do(req)
	if err != nil {
		t.Fatalf("after %d questions: %v", asked.Load(), err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "here" {
		t.Errorf("%q, %v", text, err)
	}
	select {
	case err := <-served:
		t.Error(err)
	default:
	}
}
