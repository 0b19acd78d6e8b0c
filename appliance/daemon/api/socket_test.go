package api

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
)

// socketServer serves the interface on a unix socket.
func socketServer(t *testing.T) (path string, id identity.Identity, h *history.History) {
	t.Helper()
	c, id := node(t)
	path = filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: Socket(c), ConnContext: Peer}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return path, id, c.History
}

func TestSocket(t *testing.T) {
	path, id, _ := socketServer(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen(path, ""); !errors.Is(err, ErrInUse) {
		t.Errorf("a socket in use: %v", err)
	}
	c := NewClient(path)
	node, err := c.Node(t.Context())
	if err != nil || node.PeerID != id.PeerID() {
		t.Fatalf("%+v, %v", node, err)
	}
	spec, err := job.New(job.Default(empty))
	if err != nil {
		t.Fatal(err)
	}
	o := scheduler.Offer{Spec: spec, Module: modulecache.NewModule(empty), Nonce: scheduler.NewNonce()}
	done, err := c.Execute(t.Context(), o)
	if err != nil || done.Outcome != job.Exited {
		t.Fatalf("%+v, %v", done, err)
	}
	var refused *Refused
	if _, err := c.Execute(t.Context(), o); !errors.As(err, &refused) || refused.Code != string(scheduler.InvalidRequest) {
		t.Errorf("again: %v", err)
	}
	page, err := c.Jobs(t.Context(), "", 10)
	if err != nil || len(page.Jobs) != 1 || page.Jobs[0].RunID != done.RunID || !strings.HasPrefix(page.Jobs[0].Requester, "uid ") {
		t.Errorf("%+v, %v", page, err)
	}
	detail, err := c.Job(t.Context(), done.RunID)
	if err != nil || !bytes.Equal(detail.Job, spec.File()) || !bytes.Contains(detail.Receipt, []byte("payloadType")) {
		t.Errorf("%+v, %v", detail, err)
	}
	if _, err := c.Cancel(t.Context(), done.RunID); !errors.As(err, &refused) || refused.Status != 409 {
		t.Errorf("cancelling what is over: %v", err)
	}
	if _, err := c.Logs(t.Context(), LogQuery{}); err != nil {
		t.Error(err)
	}
	if _, err := NewClient(path + "0").Node(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: %v", err)
	}
}

// Every path that a socket can have is one to listen on, and a longer one is
// refused in words.
func TestListenOnALongPath(t *testing.T) {
	dir := t.TempDir()
	for _, length := range []int{maxPath, maxPath + 1} {
		path := filepath.Join(dir, strings.Repeat("s", length-len(dir)-1))
		l, err := Listen(path, "")
		if length > maxPath {
			if err == nil || !strings.Contains(err.Error(), "--socket") {
				t.Errorf("%d bytes: %v", length, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(conn.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestListenOnWhatIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path, "root")
	if err != nil {
		if os.Geteuid() != 0 {
			t.Skip("only root may give a socket to the group root")
		}
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, ""); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("a file in its place: %v", err)
	}
	if _, err := Listen(filepath.Join(t.TempDir(), "t"), "no-such-group"); err == nil {
		t.Error("a group that is not there")
	}
}
