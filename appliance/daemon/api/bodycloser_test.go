package api

import (
	"crypto/sha256"
	"net"
	"path/filepath"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
)

// silent is an input of which nothing comes until it is ended.
type silent chan struct{}

func (s silent) Read([]byte) (int, error) {
	<-s
	return 0, net.ErrClosed
}

func (s silent) Sum() (sum [sha256.Size]byte) {
	close(s)
	return sum
}

// A daemon that goes before it has answered is an error, also while an input is
// being sent that does not come.
func TestDaemonGoesWhileTheInputIsSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	spec, err := job.New(job.Default(empty))
	if err != nil {
		t.Fatal(err)
	}
	o := scheduler.Offer{Spec: spec, Module: modulecache.NewModule(empty), Nonce: scheduler.NewNonce(), Input: make(silent)}
	if _, err := NewClient(path).Execute(t.Context(), o); err == nil {
		t.Error("a job that nobody ran has a result")
	}
}
