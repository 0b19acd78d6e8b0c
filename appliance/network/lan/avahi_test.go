package lan

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"phase/appliance/release/survey"
	"phase/tests/netlab"
)

// Avahi is what most Linux machines speak DNS-SD with. A node of these tests
// can be one: a bus, the daemon and a browser or a publisher, all in its own
// network namespace and a folder of the test.

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`

const avahiConfig = `[server]
host-name=stranger
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
disallow-other-stacks=no
[rlimits]
`

// avahiArgs says what to run beside the daemon.
type avahiArgs struct {
	Dir     string
	Command []string
}

func avahiRole(ctx context.Context, args []byte, say func(any)) error {
	var a avahiArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	socket, bus, daemon := filepath.Join(a.Dir, "bus"), filepath.Join(a.Dir, "bus.conf"), filepath.Join(a.Dir, "avahi.conf")
	if err := os.WriteFile(bus, fmt.Appendf(nil, busConfig, socket), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(daemon, []byte(avahiConfig), 0o644); err != nil {
		return err
	}
	// The daemon keeps its pid and socket in /run/avahi-daemon: a private one.
	// Mounts unshared are those of one thread, and a child gets those of the
	// thread that forks it: stay on this one. It is given up with the process.
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return err
	}
	// In a changed root "/" is no mount of its own, and cannot be made private;
	// that does no harm where nothing is shared to begin with.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		mounts, unread := os.ReadFile("/proc/self/mountinfo")
		if unread != nil || strings.Contains(string(mounts), " shared:") {
			return fmt.Errorf("making the mounts of this process its own: %w", err)
		}
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	environment := append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+socket)
	tool := func(line ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, line[0], line[1:]...)
		cmd.Env, cmd.Stderr = environment, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	for _, line := range [][]string{
		{"dbus-daemon", "--config-file=" + bus, "--nofork", "--nopidfile"},
		{"/usr/sbin/avahi-daemon", "-f", daemon, "--no-drop-root", "--no-chroot", "--no-rlimits", "--no-proc-title"},
	} {
		if err := tool(line...).Start(); err != nil {
			return err
		}
		if err := answers(ctx, socket); err != nil { // the bus, before the daemon asks for it, once
			return err
		}
	}
	// The tools end at once while the daemon is not on the bus yet.
	for ctx.Err() == nil {
		cmd := tool(a.Command...)
		cmd.Stderr = nil
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			say(lines.Text())
		}
		_ = cmd.Wait() // it is tried again, until the test has seen what it waits for
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// answers waits until somebody listens on the socket: its path is there a
// moment before, and who asks in that moment is refused.
func answers(ctx context.Context, path string) error {
	for {
		if conn, err := net.Dial("unix", path); err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// needAvahi skips where the tools are not installed; under make they are.
func needAvahi(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"dbus-daemon", "/usr/sbin/avahi-daemon", "avahi-browse", "avahi-publish"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("PHASE_REQUIRE") != "" {
				t.Fatalf("%v; make deps installs it", err)
			}
			t.Skipf("%v; make deps installs it", err)
		}
	}
}

func TestAvahiFindsANode(t *testing.T) {
	needAvahi(t)
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	c := someConfig("d")
	c.PeerPort, c.Fleet = 7420, "0123456789abcdef0123456789abcdef"
	a := netlab.Start(t, "a", "announce", announceArgs{Config: c})
	b := netlab.Start(t, "b", "avahi", avahiArgs{t.TempDir(), []string{"avahi-browse", "--all", "--parsable", "--resolve"}})
	for n, addr := range map[*netlab.Node]string{a: "192.0.2.1/24", b: "192.0.2.2/24"} {
		s.Plug(t, n, "eth0")
		n.AddAddress(t, "eth0", addr)
		n.Raise(t, "eth0")
	}
	said := map[string]string{}
	netlab.Wait(t, b, "both services, resolved over IPv4", func(line string) bool {
		// =;interface;protocol;name;type;domain;host;address;port;txt
		fields := strings.SplitN(line, ";", 10)
		if len(fields) == 10 && fields[0] == "=" && fields[1] == "eth0" && fields[7] == "192.0.2.1" {
			said[fields[4]] = strings.Join([]string{fields[3], fields[5], fields[6], fields[8], fields[9]}, " ")
		}
		return said["_phase-image._tcp"] != "" && said["_phase-peer._udp"] != ""
	})
	for service, want := range map[string][]string{
		"_phase-image._tcp": {"phase-1a2b3c4d local phase-1a2b3c4d.local 8080 ",
			`"channel=stable"`, `"arch=x86_64"`, `"version=42"`, `"http_port=8080"`, `"peer=12D3KooWpeerd"`},
		"_phase-peer._udp": {"phase-1a2b3c4d local phase-1a2b3c4d.local 7420 ", `"peer=12D3KooWpeerd"`, `"fleet=0123456789abcdef0123456789abcdef"`},
	} {
		for _, part := range want {
			if !strings.Contains(said[service], part) {
				t.Errorf("%s: avahi says %q, which lacks %s", service, said[service], part)
			}
		}
	}
}

func TestNodeFindsAvahi(t *testing.T) {
	needAvahi(t)
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	a := netlab.Start(t, "a", "avahi", avahiArgs{t.TempDir(), []string{"avahi-publish", "--service", "another", "_phase-image._tcp", "8081",
		"channel=stable", "arch=x86_64", "version=43", "http_port=8081", "peer=12D3KooWother"}})
	b := netlab.Start(t, "b", "browse", Finder{})
	for n, addr := range map[*netlab.Node]string{a: "192.0.2.1/24", b: "192.0.2.2/24"} {
		s.Plug(t, n, "eth0")
		n.AddAddress(t, "eth0", addr)
		n.Raise(t, "eth0")
	}
	f := netlab.Wait(t, b, "what avahi publishes, with its IPv4 address", func(f survey.Announcement) bool { return hasFamily(f, false) })
	if f.Name != "another" || f.Version != 43 || f.Peer != "12D3KooWother" ||
		!slices.Contains(f.URLs, "http://192.0.2.1:8081") {
		t.Errorf("found %+v", f)
	}
}
