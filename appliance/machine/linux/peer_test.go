package linux

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestPeerUID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	caller, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if uid, err := PeerUID(raw); err != nil || uid != uint32(os.Getuid()) {
		t.Errorf("the uid is %d, %v", uid, err)
	}
	conn.Close()
	if _, err := PeerUID(raw); err == nil {
		t.Error("a closed connection has a uid")
	}
}
