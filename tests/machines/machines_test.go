// Package machines holds the end-to-end tests: real images in real machines on
// a segment of their own, believed only through their serial console and their
// own HTTP. README.md in tests/ says which group proves what, and what it costs.
package machines

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"phase/appliance/machine/linux"
	"phase/qemu"
	"phase/tests/lab"
	"phase/tests/netlab"
)

// The releases of every test: stub is on the disk, next is what the network has.
const (
	stubVersion = 10
	nextVersion = 20
)

// machineArch is the arch of the machines of every test that does not name its own.
var machineArch = cmp.Or(os.Getenv("PHASE_ARCH"), qemu.X86_64)

// patience is the longest a test waits for one event, whatever else the
// machine that runs the tests is doing. It is no measure of speed.
const patience = 5 * time.Minute

// long skips a test outside the long tier.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("PHASE_TIER") != "all" {
		t.Skip("in the long tier: make test-all")
	}
}

// missing ends a test that cannot run here. Where everything is installed
// (make test, CI) that is a failure.
func missing(t *testing.T, why error) {
	t.Helper()
	if os.Getenv("PHASE_REQUIRE") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// world is one arch's lab and the two releases every test needs.
type world struct {
	*lab.Lab
	stub, next lab.Release
	err        error
}

var (
	worldsMu sync.Mutex
	worlds   = map[string]*world{}
)

// room is the memory that a test's machines may need together: up to three of
// half a GiB, and their emulators.
const room = 2 << 30

func TestMain(m *testing.M) {
	netlab.BecomePlugged() // as the program of a person's computer
	flag.Parse()
	// As many tests beside each other as there are processors, and memory for.
	if memory, err := linux.ReadMemory(); err == nil {
		parallel := flag.Lookup("test.parallel").Value
		most := max(1, memory.Available/room)
		if n, err := strconv.ParseInt(parallel.String(), 10, 64); err == nil && n > most {
			_ = parallel.Set(strconv.FormatInt(most, 10)) // a number is one
		}
	}
	code := m.Run()
	for _, w := range worlds {
		if w.Lab != nil {
			_ = w.Clean() // what is left over is in build/, which git ignores
		}
	}
	os.Exit(code)
}

// build is the build folder of the checkout.
func build() string { return filepath.Join("..", "..", "build") }

// open returns the world of an arch; its releases are made once.
func open(t *testing.T, arch string) *world {
	t.Helper()
	worldsMu.Lock()
	defer worldsMu.Unlock()
	w := worlds[arch]
	if w == nil {
		w = &world{}
		worlds[arch] = w
		firmware := qemu.BIOS
		if arch == qemu.ARM64 {
			firmware = qemu.UEFI
		}
		w.err = qemu.Available(arch, firmware)
		if w.err == nil {
			w.Lab, w.err = lab.Open(build(), filepath.Join(build(), "tests", "disks-"+arch), arch)
		}
		if w.err == nil {
			w.stub, w.err = w.Release(context.Background(), stubVersion)
		}
		if w.err == nil {
			w.next, w.err = w.Release(context.Background(), nextVersion)
		}
	}
	if w.err != nil {
		missing(t, w.err)
	}
	return w
}

// segment is a network of the test's own, with nothing on it.
func segment(t *testing.T) *qemu.Segment {
	t.Helper()
	s, err := qemu.NewSegment()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// start powers a machine on; its console is kept in build/tests. What cfg
// leaves open is a node with one NIC on s that boots the given release's disk.
func (w *world) start(t *testing.T, s *qemu.Segment, r lab.Release, cfg qemu.Config) *lab.Node {
	t.Helper()
	cfg.Arch = w.Arch
	if cfg.Disks == nil && cfg.Kernel == "" {
		cfg.Disks = []qemu.Disk{{Path: r.Disk}}
	}
	if cfg.NICs == nil {
		cfg.NICs = []qemu.NIC{{Segment: s}}
	}
	// The machine's life is the test's, not that of one wait.
	n, err := lab.Start(context.Background(), filepath.Join(build(), "tests", t.Name()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// patient bounds one wait.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// up waits until a node runs version and serves it.
func up(t *testing.T, n *lab.Node, after qemu.Event, version uint64) lab.Identity {
	t.Helper()
	id, err := n.Up(patient(t), after, version)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// line waits for a console line after an event and returns its groups.
func line(t *testing.T, n *lab.Node, after qemu.Event, pattern string) ([]string, qemu.Event) {
	t.Helper()
	groups, e, err := n.Line(patient(t), after, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return groups, e
}

// jumped waits until a node has jumped into version and is whole again.
func jumped(t *testing.T, n *lab.Node, after qemu.Event, version uint64) lab.Identity {
	t.Helper()
	_, jump := line(t, n, after, lab.JumpInto(version))
	id := up(t, n, jump, version)
	line(t, n, jump, `booted from kexec`)
	return id
}

// status asks a node over HTTP.
func status(t *testing.T, n *lab.Node) lab.Status {
	t.Helper()
	s, err := n.Status(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused waits until a node has said on its console that it refused an offer
// for the reason code, and returns the provider it named.
func refused(t *testing.T, n *lab.Node, after qemu.Event, code string) (provider string) {
	t.Helper()
	groups, _ := line(t, n, after, fmt.Sprintf(`update: .*refused (\S+): .* \(%s\)`, code))
	return groups[0]
}
