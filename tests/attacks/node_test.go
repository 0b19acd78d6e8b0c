package attacks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"
	"phase/appliance/release/trial"
	"phase/tests/await"
	"phase/tests/netlab"
	"phase/tests/storetest"
)

// plasmdUser is the user, and the group, of plasmd on a node.
const plasmdUser = 900

// The node's own address, and its first provider's.
const (
	nodeAddress     = "10.9.0.2"
	strangerAddress = "10.9.0.3"
	honestAddress   = "10.9.0.4"
)

// node is a node without its kernel and without init: plasmd and update as
// processes in a machine, with a root folder as a node has it. Neither has the
// capability to load a kernel, so that update goes as far as that, and no
// further, on whatever machine the tests run.
type node struct {
	machine        *netlab.Machine
	root           string // what is / for them
	update, plasmd *netlab.Process
}

// newNode lays the root folder out, with the running release of a project on its
// stub, and the providers that its owner named.
func newNode(t *testing.T, p *project, providers ...string) *node {
	t.Helper()
	n := &node{machine: netlab.NewMachine(t, "node"), root: t.TempDir()}
	n.put(t, "etc/phase/root.json", p.Root.Raw())
	for name, text := range kernelSays {
		n.put(t, filepath.Join("kernel", name), []byte(text))
	}
	for _, dir := range []string{"tmp", "dev", "proc", "user", "run/phase/plasmd", "perm/phase/plasmd"} {
		n.folder(t, dir)
	}
	n.machine.Do(t, n.isolate)
	binary, err := os.ReadFile(phase(t))
	if err != nil {
		t.Fatal(err)
	}
	// A process that is forked meanwhile would hold it open for writing, and no
	// program that is starts.
	syscall.ForkLock.RLock()
	n.put(t, "user/phase", binary)
	syscall.ForkLock.RUnlock()
	err = errors.Join(
		os.Chmod(n.path("user/phase"), 0o755), os.Chmod(n.root, 0o755), os.Chmod(filepath.Dir(n.root), 0o755), os.Chmod(n.path("tmp"), 0o1777),
		unix.Mknod(n.path("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.Chmod(n.path("dev/null"), 0o666),
		os.Chown(n.path("run/phase/plasmd"), plasmdUser, plasmdUser), os.Chown(n.path("perm/phase/plasmd"), plasmdUser, plasmdUser),
	)
	if err != nil {
		t.Fatal(err)
	}
	n.hold(t, p, providers)
	return n
}

// kernelSays is what the programs read of the kernel, by its place in /proc: that
// of a node that may load another one, and has memory for it.
var kernelSays = map[string]string{
	"cmdline":                        "quiet console=ttyS0",
	"meminfo":                        "MemTotal: 4194304 kB\nMemFree: 3145728 kB\nMemAvailable: 3145728 kB\n",
	"sys/kernel/kexec_load_disabled": "0\n",
	"sys/kernel/random/boot_id":      "11111111-2222-3333-4444-555555555555\n",
}

// isolate gives the machine mounts of its own, the node's /proc among them, and
// takes from what runs in it for good what would load a kernel or restart.
func (n *node) isolate() error {
	proc := n.path("proc")
	bind := func(name string) error {
		return unix.Mount(n.path(filepath.Join("kernel", name)), filepath.Join(proc, name), "", unix.MS_BIND, "")
	}
	return errors.Join(
		unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_BOOT, 0, 0, 0),
		unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", proc, "proc", 0, ""), bind("cmdline"), bind("meminfo"), bind("sys/kernel"),
	)
}

// hold puts the running release on the stub, and writes boot.json as init does.
func (n *node) hold(t *testing.T, p *project, providers []string) {
	t.Helper()
	p.Write(t, n.path("boot/release"), p.running)
	at := "/boot/release/" + layout.Release("stable", p.made.Running.Arch) + "/"
	o := settings.Default()
	o.Provider = providers
	options, err := strictjson.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	b := statefile.Boot{
		Mode: string(o.Mode), Options: options, OptionsUnknown: []string{}, BootedFrom: statefile.FromStub, Problems: []string{},
		Watchdog: "none", Data: "/perm/phase/plasmd", Started: time.Now(),
		Held: &statefile.Held{Manifest: at + layout.ManifestFile, Artifacts: map[string]string{}},
	}
	for name := range p.running.Bytes {
		b.Held.Artifacts[name] = at + layout.FileName(name)
	}
	if err := statefile.Write(n.path("run/phase"), statefile.BootFile, b); err != nil {
		t.Fatal(err)
	}
}

// path is where a file of the node is for the test.
func (n *node) path(name string) string { return filepath.Join(n.root, name) }

func (n *node) folder(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(n.path(name), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (n *node) put(t *testing.T, name string, data []byte) {
	t.Helper()
	n.folder(t, filepath.Dir(name))
	if err := os.WriteFile(n.path(name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// failed has the node's journal say that a release was tried, again and again,
// and never came up.
func (n *node) failed(t *testing.T, r storetest.Release) {
	t.Helper()
	for boot := range 8 {
		j := trial.InFolder(n.path("perm/phase"), trial.Boot{ID: fmt.Sprint(boot), Up: func() time.Duration { return 48 * time.Hour }})
		if err := j.Begin(r.Digest(), 0, trial.Expect{}); err != nil {
			return // there are no more tries
		}
	}
	t.Fatal("the release is tried without end")
}

// start starts plasmd and then update, as init's table of services has them.
func (n *node) start(t *testing.T) {
	t.Helper()
	n.plasmd = n.run(t, plasmdUser, "plasmd", "start", "--http", "[::]:8080", "--state", "/run/phase", "--root", "/etc/phase/root.json",
		"--data", "/perm/phase/plasmd", "--socket", "/run/phase/plasmd/plasmd.sock", "--confine")
	n.plasmd.AwaitText(t, "serving http on ")
	n.update = n.run(t, 0, "update", "--state", "/run/phase", "--root", "/etc/phase/root.json", "--socket", "/run/phase/plasmd/plasmd.sock", "--confine")
}

// run starts a program of the node; user 0 is root.
func (n *node) run(t *testing.T, user uint32, args ...string) *netlab.Process {
	t.Helper()
	return n.machine.Start(t, netlab.Program{Name: args[0], Path: "/user/phase", Args: args, Root: n.root, Dir: "/", User: user, Quiet: true})
}

// get asks the node's plasmd, from the machine itself.
func (n *node) get(ctx context.Context, path string) ([]byte, error) {
	dial := func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = n.machine.Try(func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8080"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return data, err
}

// shown is what /status says of a node.
type shown struct {
	Release struct {
		Version uint64
		Digest  string
	} `json:"release"`
	Health struct {
		Status string `json:"status"`
	} `json:"health"`
	Update statefile.Update `json:"update"`
}

func (n *node) status(t *testing.T) (s shown) {
	t.Helper()
	data, err := n.get(t.Context(), "/status")
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// well says whether the node still runs, serves and shows what it ran at first.
func (n *node) well(t *testing.T, p *project) error {
	t.Helper()
	var last error
	err := await.Until(t.Context(), func() bool {
		data, err := n.get(t.Context(), "/manifest.json")
		if last = err; err != nil {
			return false
		}
		if s := n.status(t); string(data) != string(p.running.Envelope()) || s.Release.Version != runningVersion || s.Health.Status != "healthy" {
			last = fmt.Errorf("/status shows %+v", s)
			return false
		}
		return true
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}
