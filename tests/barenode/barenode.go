// Package barenode is a node without its kernel and without init: the real plasmd
// and update as processes in a machine of netlab, with a root folder as a node has
// it.
package barenode

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
	"phase/tests/netlab"
	"phase/tests/storetest"
)

// User is the user, and the group, of plasmd on a node.
const User = 900

// Config is what a node is made of.
type Config struct {
	Program   string            // path of the one binary
	Signer    *storetest.Signer // whose root the node trusts
	Running   storetest.Release // on its stub
	Providers []string          // that its owner named
	Steps     []statefile.Step  // of its start, in boot.json
	Memory    bool              // it is said to have that of this machine, and not 4 GiB
}

// Node is such a node. Neither of its programs has the capability to load a
// kernel, so that update goes as far as that, and no further, on whatever machine
// the tests run.
type Node struct {
	Machine        *netlab.Machine
	Root           string // what is / for them
	Update, Plasmd *netlab.Process
}

// New lays the root folder out.
func New(t *testing.T, c Config) *Node {
	t.Helper()
	n := &Node{Machine: netlab.NewMachine(t, "node"), Root: t.TempDir()}
	n.Put(t, "etc/phase/root.json", c.Signer.Root.Raw())
	for name, text := range kernelSays {
		n.Put(t, filepath.Join("kernel", name), []byte(text))
	}
	for _, dir := range []string{"tmp", "dev", "proc", "user", "run/phase/plasmd", "perm/phase/plasmd"} {
		n.folder(t, dir)
	}
	n.Machine.Do(t, func() error { return n.isolate(c.Memory) })
	binary, err := os.ReadFile(c.Program)
	if err != nil {
		t.Fatal(err)
	}
	// A process that is forked meanwhile would hold it open for writing, and no
	// program that is starts.
	syscall.ForkLock.RLock()
	n.Put(t, "user/phase", binary)
	syscall.ForkLock.RUnlock()
	err = errors.Join(
		os.Chmod(n.Path("user/phase"), 0o755), os.Chmod(n.Root, 0o755), os.Chmod(filepath.Dir(n.Root), 0o755), os.Chmod(n.Path("tmp"), 0o1777),
		unix.Mknod(n.Path("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.Chmod(n.Path("dev/null"), 0o666),
		os.Chown(n.Path("run/phase/plasmd"), User, User), os.Chown(n.Path("perm/phase/plasmd"), User, User),
	)
	if err != nil {
		t.Fatal(err)
	}
	n.hold(t, c)
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
func (n *Node) isolate(memory bool) error {
	proc := n.Path("proc")
	bind := func(name string) error {
		return unix.Mount(n.Path(filepath.Join("kernel", name)), filepath.Join(proc, name), "", unix.MS_BIND, "")
	}
	says := "meminfo"
	if memory {
		says = "cmdline"
	}
	return errors.Join(
		unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_BOOT, 0, 0, 0),
		unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", proc, "proc", 0, ""), bind("cmdline"), bind(says), bind("sys/kernel"),
	)
}

// hold puts the running release on the stub, and writes boot.json as init does.
func (n *Node) hold(t *testing.T, c Config) {
	t.Helper()
	c.Signer.Write(t, n.Path("boot/release"), c.Running)
	at := "/boot/release/" + layout.Release("stable", c.Running.Manifest().Arch) + "/"
	o := settings.Default()
	o.Provider = c.Providers
	options, err := strictjson.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	b := statefile.Boot{
		Mode: string(o.Mode), Options: options, OptionsUnknown: []string{}, BootedFrom: statefile.FromStub, Problems: []string{},
		Watchdog: "none", Data: "/perm/phase/plasmd", Started: time.Now(), Steps: c.Steps,
		Held: &statefile.Held{Manifest: at + layout.ManifestFile, Artifacts: map[string]string{}},
	}
	for name := range c.Running.Bytes {
		b.Held.Artifacts[name] = at + layout.FileName(name)
	}
	if err := statefile.Write(n.Path("run/phase"), statefile.BootFile, b); err != nil {
		t.Fatal(err)
	}
}

// Path is where a file of the node is for the test.
func (n *Node) Path(name string) string { return filepath.Join(n.Root, name) }

func (n *Node) folder(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(n.Path(name), 0o755); err != nil {
		t.Fatal(err)
	}
}

// Put writes a file of the node.
func (n *Node) Put(t *testing.T, name string, data []byte) {
	t.Helper()
	n.folder(t, filepath.Dir(name))
	if err := os.WriteFile(n.Path(name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Failed has the node's journal say that a release was tried, again and again,
// and never came up.
func (n *Node) Failed(t *testing.T, r storetest.Release) {
	t.Helper()
	for boot := range 8 {
		j := trial.InFolder(n.Path("perm/phase"), trial.Boot{ID: fmt.Sprint(boot), Up: func() time.Duration { return 48 * time.Hour }})
		if err := j.Begin(r.Digest(), 0, trial.Expect{}); err != nil {
			return // there are no more tries
		}
	}
	t.Fatal("the release is tried without end")
}

// Start starts plasmd and then update, as init's table of services has them.
func (n *Node) Start(t *testing.T) {
	t.Helper()
	n.Plasmd = n.Run(t, User, "plasmd", "start", "--http", "[::]:8080", "--state", "/run/phase", "--root", "/etc/phase/root.json",
		"--data", "/perm/phase/plasmd", "--socket", "/run/phase/plasmd/plasmd.sock", "--confine")
	n.Plasmd.AwaitText(t, "serving http on ")
	n.Update = n.Run(t, 0, "update", "--state", "/run/phase", "--root", "/etc/phase/root.json", "--socket", "/run/phase/plasmd/plasmd.sock", "--confine")
}

// Run starts a program of the node; user 0 is root.
func (n *Node) Run(t *testing.T, user uint32, args ...string) *netlab.Process {
	t.Helper()
	return n.Machine.Start(t, netlab.Program{Name: args[0], Path: "/user/phase", Args: args, Root: n.Root, Dir: "/", User: user, Quiet: true})
}

// Get asks the node's plasmd, from the machine itself.
func (n *Node) Get(ctx context.Context, path string) ([]byte, error) {
	dial := func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = n.Machine.Try(func() (err error) {
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

// Shown is what /status says of a node.
type Shown struct {
	Release struct {
		Version uint64
		Digest  string
	} `json:"release"`
	Health struct {
		Status string `json:"status"`
	} `json:"health"`
	Update statefile.Update `json:"update"`
}

// Status asks the node.
func (n *Node) Status(t *testing.T) (s Shown) {
	t.Helper()
	data, err := n.Get(t.Context(), "/status")
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}
