package update

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/exchange"
	"phase/appliance/machine/settings"
	"phase/appliance/machine/walls"
	"phase/appliance/release/store/disk"
	"phase/tests/onkernel"
)

// wordConfined makes this binary the program update behind its walls: what it could
// not do and must, and the other way round, it prints.
const wordConfined = "confined"

// confinedMain is what TestMain begins with.
func confinedMain(m *testing.M) {
	if onkernel.Here() {
		onkernel.Run(m)
	}
	if len(os.Args) == 3 && os.Args[1] == wordConfined {
		os.Exit(behindTheWalls(os.Args[2]))
	}
}

// of is the program on a node whose folders are below dir.
func of(dir string) (commandLine, *node) {
	c := commandLine{
		State: filepath.Join(dir, "run"), Root: filepath.Join(dir, "etc", "root.json"), Store: filepath.Join(dir, "perm", "store"),
		Socket: filepath.Join(dir, "run", "plasmd", "plasmd.sock"), Boot: filepath.Join(dir, "boot"), Confine: true, Group: os.Getgid(),
	}
	return c, &node{commandLine: c, options: settings.Default()}
}

// loads says whether this process could load a kernel before it built walls.
var loads bool

// unload forgets a kernel that was loaded: for who may load one.
func unload() error {
	if _, _, no := unix.Syscall6(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0, 0, 0); no != 0 {
		return no
	}
	return nil
}

// behindTheWalls tries all that the program does, and all that it must not.
func behindTheWalls(dir string) int {
	c, n := of(dir)
	loads = unload() == nil // root, on a kernel that can
	built, err := c.confine(n)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("walls", strings.Join(built, ","))
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, try := range append(work(c, n, at), offences(c, at)...) {
		switch err := try.do(); {
		case try.must && err != nil:
			fmt.Printf("it cannot %s: %v\n", try.name, err)
		case !try.must && err == nil:
			fmt.Printf("it can %s\n", try.name)
		}
	}
	return 0
}

// try is one thing to do, which the program must be able to do, or must not.
type try struct {
	name string
	do   func() error
	must bool
}

// work is what the program does on a node.
func work(c commandLine, n *node, at func(string) string) []try {
	var store *disk.Store
	return []try{
		{"open the store", func() (err error) { store, err = disk.Create(c.Store); return err }, true},
		{"write the store", func() error { return store.SetPin(disk.Pin{Release: names.Sum(nil), By: "here"}) }, true},
		{"prune the store", func() error { return store.Prune(nil, func(disk.Release) bool { return true }) }, true},
		{"say what it does", func() error {
			return statefile.Write(statefile.UpdateFolder(c.State), statefile.UpdateFile, statefile.Update{})
		}, true},
		{"listen for operators", func() error { return (&desk{commandLine: c, node: n}).open(context.Background()) }, true},
		{"read what init says", func() error { _, err := os.ReadFile(at("run/boot.json")); return err }, true},
		{"read the journal", func() error { _, err := os.ReadFile(at("perm/trials.json")); return err }, true},
		{"hold a kernel in memory", func() error { _, err := unix.MemfdCreate("kernel", unix.MFD_ALLOW_SEALING); return err }, true},
		{"ask init", func() error {
			var a string
			return exchange.Ask(context.Background(), at("run/init.sock"), "x", &a, 64)
		}, true},
		{"listen on the network", func() error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				err = l.Close()
			}
			return err
		}, true},
		{"load a kernel", unload, loads},
	}
}

// offences are what it must not do; those that Landlock alone prevents say so.
func offences(c commandLine, at func(string) string) []try {
	create := func(name string) func() error {
		return func() error { return os.WriteFile(at(name), []byte("x"), 0o600) }
	}
	change := func(name string) func() error {
		return func() error {
			f, err := os.OpenFile(at(name), os.O_WRONLY, 0)
			return errors.Join(err, f.Close())
		}
	}
	return []try{
		{"landlock: say what init says", change("run/boot.json"), false},
		{"landlock: make a state file", create("run/net.json"), false},
		{"landlock: take init's socket away", func() error { return os.Remove(at("run/init.sock")) }, false},
		{"landlock: write the journal", change("perm/trials.json"), false},
		{"landlock: make a file beside the store", create("perm/new"), false},
		{"landlock: move the store", func() error { return os.Rename(c.Store, at("perm/other")) }, false},
		{"landlock: look at what is not its own", func() error { _, err := os.ReadDir("/"); return err }, false},
		{"landlock: write plasmd's folder", create("perm/plasmd/new"), false},
		{"landlock: write the boot partition", change("boot/manifest.json"), false},
		{"landlock: write the roots", change("etc/root.json"), false},
		{"landlock: open a disk", change("dev/disk"), false},
		{"landlock: signal another program", func() error { return unix.Kill(os.Getppid(), 0) }, false},
		{"load a kernel from a file", func() error { return unix.KexecFileLoad(-1, -1, "", unix.KEXEC_FILE_UNLOAD) }, false},
		{"restart the machine", func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }, false},
		{"mount", func() error { return unix.Mount("none", c.Store, "tmpfs", 0, "") }, false},
		{"make a device", func() error { return unix.Mknod(filepath.Join(c.Store, "device"), unix.S_IFCHR|0o600, 259) }, false},
		{"trace another program", func() error { return unix.PtraceSeize(os.Getppid()) }, false},
		{"set the clock", func() error { return unix.Settimeofday(&unix.Timeval{Sec: 1}) }, false},
	}
}

// TestWalls: behind its walls the program can do all that it does on a node, and
// write nothing but the store and its own folders. (TestWallsOnTheKernel runs this
// on a node's kernel.)
func TestWalls(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"run/boot.json", "run/plasmd/plasmd.sock", "etc/root.json", "perm/trials.json", "perm/plasmd/identity.pem", "boot/manifest.json", "dev/disk"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("{}"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := exchange.Listen(filepath.Join(dir, "run", "init.sock"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	go exchange.Serve(t.Context(), l, 64, func(context.Context, uint32, []byte, error) (any, func()) { return "yes", nil })
	out, err := exec.Command("/proc/self/exe", wordConfined, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, rest, ok := strings.Cut(string(out), "\nwalls ")
	if !ok {
		t.Fatalf("%s", out)
	}
	lines := strings.Split(strings.TrimSpace(rest), "\n")
	built := strings.Split(lines[0], ",")
	t.Log(built)
	if _, err := os.Stat("/proc/sys/kernel/seccomp"); err == nil && !slices.Contains(built, "seccomp") {
		t.Error("this kernel has seccomp, and it is not among the walls")
	}
	for _, line := range lines[1:] {
		without := strings.HasPrefix(line, "it can landlock: ") && !walls.HasLandlock(built) || strings.HasPrefix(line, "it can ") && !slices.Contains(built, "seccomp")
		if !without {
			t.Error(line)
		}
	}
}
