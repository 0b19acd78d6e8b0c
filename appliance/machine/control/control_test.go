package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"phase/appliance/machine/supervise"
)

// serve runs handle on a socket of its own, for the length of the test.
func serve(t *testing.T, handle Handler) string {
	t.Helper()
	// Not t.TempDir: another user must reach it, and its path must be short.
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func echo(r Request) (Response, func()) {
	return Response{OK: true, Lines: []string{r.Do, r.Service, r.Trial}, Services: []supervise.Status{{Name: "x", PID: 7}}}, nil
}

func TestDo(t *testing.T) {
	path := serve(t, echo)
	answer, err := Do(t.Context(), path, Request{Do: Status, Service: "plasmd"})
	if err != nil || strings.Join(answer.Lines, " ") != "status plasmd " || answer.Services[0].PID != 7 {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestRefusal(t *testing.T) {
	path := serve(t, func(Request) (Response, func()) {
		return Response{Error: "no kernel is loaded", Code: "busy"}, nil
	})
	_, err := Do(t.Context(), path, Request{Do: Status})
	var refused *Refused
	if !errors.As(err, &refused) || refused.Code != "busy" || !strings.Contains(err.Error(), "no kernel is loaded") {
		t.Errorf("got %v", err)
	}
}

// What the request starts, a jump, comes after the whole answer is out.
func TestAfter(t *testing.T) {
	started := make(chan struct{})
	path := serve(t, func(Request) (Response, func()) { return Response{OK: true}, func() { close(started) } })
	if _, err := Do(t.Context(), path, Request{Do: Status}); err != nil {
		t.Fatal(err)
	}
	<-started
}

func TestNoInit(t *testing.T) {
	_, err := Do(t.Context(), filepath.Join(t.TempDir(), "none"), Request{Do: Status})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "is this a node?") {
		t.Errorf("got %v", err)
	}
}

func TestNotARequest(t *testing.T) {
	path := serve(t, func(Request) (Response, func()) { panic("asked") })
	for _, text := range []string{"", "{", `{"do":"format"}`, `{"do":"status","x":1}`, `{"do":"status"}{}`, `{"do":"status","do":"kexec"}`,
		`{"do":"status","service":"` + strings.Repeat("x", maxRequest) + `"}`} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		// A refused flood may end in a reset; what counts is that it is refused.
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.UnixConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		conn.Close()
		if strings.Contains(string(answer), `"ok":true`) {
			t.Errorf("%.40q is answered by %s", text, answer)
		}
	}
}

// The kernel says who asks: a program of another user may look and nothing else.
func TestOnlyRoot(t *testing.T) {
	if os.Getenv("CONTROL_ASK") != "" {
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to ask as somebody else")
	}
	path := serve(t, echo)
	for _, c := range []struct {
		uid   uint32
		do    string
		allow bool
	}{
		{0, Kexec, true}, {0, Logs, true}, {0, Status, true}, {900, Status, true},
		{900, Kexec, false}, {900, Reboot, false}, {900, PowerOff, false}, {900, Pause, false}, {900, Resume, false}, {900, Logs, false},
	} {
		out := askAs(t, c.uid, path, c.do)
		if allowed := strings.Contains(out, "allowed"); allowed != c.allow {
			t.Errorf("uid %d asks to %s: %s", c.uid, c.do, out)
		}
	}
}

// askAs runs this test binary as another user, from a copy that user can read.
func askAs(t *testing.T, uid uint32, path, do string) string {
	t.Helper()
	self := filepath.Join(filepath.Dir(path), "ask")
	if _, err := os.Stat(self); err != nil {
		data, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(self, data, 0o755), os.Chmod(self, 0o755)); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	cmd := exec.Command(self, "-test.run=^TestAsk$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "CONTROL_ASK="+do, "CONTROL_SOCKET="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "is for root") {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestAsk is the other user's side of TestOnlyRoot.
func TestAsk(t *testing.T) {
	do := os.Getenv("CONTROL_ASK")
	if do == "" {
		t.Skip("runs within TestOnlyRoot")
	}
	if _, err := Do(t.Context(), os.Getenv("CONTROL_SOCKET"), Request{Do: do}); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdout.WriteString("allowed\n")
}

// FuzzParseRequest states: what is accepted asks for one of seven things.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"do":"kexec","trial":"sha256:00"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if err == nil && !needsRoot[r.Do] && r.Do != Status {
			t.Errorf("%q asks to %q", data, r.Do)
		}
	})
}
