// Package architecture holds the repository to its own rules: who may import
// what, which packages are pure, which third-party library has which owner,
// how long code may be, and whether the pages say what the code does.
package architecture

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// wings are the folders of appliance/, the ground first: a package imports its
// own wing and those before it, never one behind it. The list of kernels beside
// them imports nothing, and all may look things up in it.
var wings = []string{"base", "machine", "release", "network", "compute", "daemon"}

// folders says what every other folder may import of this module. Nothing but
// programs/phase sees a program.
var folders = map[string][]string{
	"init":           {"appliance"},
	"programs":       {"appliance"},
	"programs/phase": {"appliance", "programs"},
	"kernel":         {},
	"images":         {"appliance", "images", "kernel"},
	"packaging":      {"appliance", "packaging"},
	"qemu":           {"appliance", "qemu"},
	"examples":       {},
	"tests":          {"appliance", "kernel", "images", "qemu", "tests"},
}

// forTests says what tests may import besides.
var forTests = map[string][]string{
	"appliance": {"appliance", "tests/await", "tests/disktest", "tests/netlab", "tests/nodes", "tests/onkernel", "tests/peertest", "tests/storetest"},
	"init":      {"tests/onkernel", "tests/storetest"},
	"qemu":      {"tests/nbd"},
	"programs":  {"tests/await", "tests/netlab", "tests/onkernel", "tests/peertest", "tests/storetest"},
}

// pure packages touch nothing: no files, network or processes, and clocks and
// randomness come in as arguments. They import no package that is not pure.
var pure = []string{
	"base/envelope", "base/keypem", "base/names", "base/redact", "base/refusal", "base/strictjson", "base/syslog",
	"machine/disk/fat", "machine/disk/gpt", "machine/disk/parts", "machine/initrd", "machine/kexecplan", "machine/settings",
	"release/layout", "release/manifest", "release/record", "release/rollout", "release/roots/chain", "release/trust",
	"network/bounds", "network/capability", "network/capability/bucket", "network/dht/values",
	"compute/job", "compute/receipt",
}

// impure is what a pure package may not import, and impureCalls what it may not
// call. The types of net/netip and net/url are values, and welcome.
var (
	impure      = []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "math/rand", "math/rand/v2", "crypto/rand"}
	impureCalls = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker", "time.Tick", "time.AfterFunc"}
)

// owners: a third-party library, by the start of its path, has one package
// that imports it (more where the line says so).
var owners = map[string][]string{
	"github.com/alecthomas/kong":                    {"appliance/base/program", "appliance/base/completion"},
	"github.com/goreleaser/nfpm":                    {"packaging"},
	"github.com/schollz/progressbar":                {"appliance/base/ui"},
	"github.com/dustin/go-humanize":                 {"appliance/base/ui"},
	"golang.org/x/term":                             {"appliance/base/ui", "qemu/main"},
	"github.com/go-json-experiment/json":            {"appliance/base/strictjson"},
	"github.com/google/renameio":                    {"appliance/base/statefile"},
	"github.com/mr-tron/base58":                     {"appliance/base/identity"},
	"github.com/vishvananda/netlink":                {"appliance/machine/link", "tests/netlab"},
	"github.com/insomniacslk/dhcp":                  {"appliance/machine/link", "tests/lab"},
	"github.com/mdlayher/packet":                    {"appliance/machine/link"},
	"golang.org/x/net":                              {"appliance/machine/link"},
	"github.com/miekg/dns":                          {"appliance/network/lan", "tests/lab"},
	"golang.org/x/crypto/x509roots":                 {"appliance/release/fetch"},
	"github.com/u-root/u-root":                      {"appliance/machine/kexecplan", "appliance/release/kexec"},
	"github.com/klauspost/compress":                 {"appliance/release/kexec", "images"},
	"github.com/prometheus":                         {"appliance/daemon/status", "appliance/network/peer"},
	"github.com/libp2p/go-libp2p":                   {"appliance/network/peer", "appliance/network/dht", "appliance/network/releases"},
	"github.com/libp2p/go-libp2p-kad-dht":           {"appliance/network/dht"},
	"github.com/libp2p/go-libp2p-kbucket":           {"appliance/network/dht"},
	"github.com/libp2p/go-libp2p-record":            {"appliance/network/dht"},
	"github.com/libp2p/go-msgio":                    {"appliance/network/dht"},
	"github.com/ipfs/go-cid":                        {"appliance/network/dht"},
	"github.com/ipfs/go-datastore":                  {"appliance/network/dht"},
	"golang.org/x/time":                             {"appliance/network/dht"},
	"github.com/hashicorp/golang-lru":               {"appliance/network/dht"},
	"github.com/multiformats/go-multihash":          {"appliance/network/dht"},
	"github.com/multiformats/go-multiaddr":          {"appliance/network/peer", "appliance/network/dht", "appliance/network/releases"},
	"github.com/quic-go/quic-go":                    {"appliance/network/peer"},
	"github.com/tetratelabs/wazero":                 {"appliance/compute/wasm"},
	"github.com/pelletier/go-toml":                  {"appliance/daemon/config"},
	"go.etcd.io/bbolt":                              {"appliance/compute/history"},
	"github.com/landlock-lsm/go-landlock":           {"appliance/machine/walls"},
	"github.com/elastic/go-seccomp-bpf":             {"appliance/machine/walls", "appliance/compute/sandbox"},
	"kernel.org/pub/linux/libs/security/libcap/psx": {"appliance/compute/sandbox"},
	"github.com/CycloneDX/cyclonedx-go":             {"images/attest"},
	"github.com/gokrazy/kernel":                     {"kernel"},
	"github.com/gokrazy/firmware":                   {"kernel"},
	"gvisor.dev/gvisor":                             {"qemu"},
	"github.com/chromedp":                           {"tests/browser"},
	"github.com/hanwen/go-fuse":                     {"tests/crashfs"},
	"golang.org/x/sys": {"appliance/daemon/api", "appliance/compute/hostfs", "appliance/machine/disk", "appliance/machine/kexecload", "appliance/machine/linux", "appliance/machine/walls", "appliance/compute/sandbox",
		"appliance/machine/link", "appliance/network/lan", "appliance/release/kexec", "appliance/release/provide", "appliance/release/store/disk", "appliance/release/trial",
		"init", "tests/barenode", "tests/netlab", "tests/guests/init", "tests/onkernel", "tests/wallclock"},
}

func TestImports(t *testing.T) {
	files := read(t)
	for _, f := range files {
		for _, imported := range f.imports {
			if problem := judge(f.dir(), imported, f.test()); problem != "" {
				t.Errorf("%s: %s", f.name, problem)
			}
		}
	}
}

// TestJudge shows that each rule of the tables refuses.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		dir, imported string
		test, ok      bool
	}{
		{"appliance/release/fetch", "phase/appliance/release/trust", false, true},
		{"appliance/release/fetch", "phase/appliance/base/ui", false, true},
		{"appliance/release/fetch", "phase/appliance/network/lan", false, false},
		{"appliance/base/ui", "phase/appliance/machine/linux", false, false},
		{"appliance/base/ui", "phase/appliance/machine/linux", true, true},
		{"appliance/nowing/ui", "phase/appliance/base/ui", false, false},
		{"appliance/release/fetch", "phase/programs/fetch", false, false},
		{"appliance/release/fetch", "phase/programs/fetch", true, false},
		{"appliance/release/fetch", "phase/tests/storetest", true, true},
		{"appliance/release/fetch", "phase/tests/storetest", false, false},
		{"appliance/release/fetch", "phase/qemu", false, false},
		{"appliance/release/diskimage", "phase/kernel", false, true},
		{"programs/fetch", "phase/programs/verify", false, false},
		{"programs/phase", "phase/programs/verify", false, true},
		{"appliance/release/trust", "os", false, false},
		{"appliance/release/trust", "os", true, true},
		{"appliance/release/fetch", "os", false, true},
		{"appliance/release/fetch", "github.com/tetratelabs/wazero", false, false},
		{"appliance/compute/wasm", "github.com/tetratelabs/wazero/api", false, true},
		{"appliance/compute/wasm", "github.com/tetratelabs/wazerox", false, false},
		{"appliance/release/fetch", "example.org/unknown", false, false},
		{"nowhere", "phase/appliance/release/trust", false, false},
	} {
		if problem := judge(c.dir, c.imported, c.test); (problem == "") != c.ok {
			t.Errorf("judge(%q, %q) = %q", c.dir, c.imported, problem)
		}
	}
}

// judge says what is wrong with a file in dir importing imported; "" if
// nothing. Tests beside the code may use what they need of the standard
// library and of third parties.
func judge(dir, imported string, test bool) string {
	if own, ok := strings.CutPrefix(imported, "phase/"); ok {
		if mayImport(dir, own) || test && mayTest(dir, own) {
			return ""
		}
		return "may not import " + imported
	}
	if test {
		return ""
	}
	if isPure(dir) && slices.Contains(impure, imported) {
		return "is pure and may not import " + imported
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for library, packages := range owners {
		if under(imported, library) || strings.HasPrefix(imported, library+".") {
			if slices.ContainsFunc(packages, func(p string) bool { return under(dir, p) }) {
				return ""
			}
			return "may not import " + imported + ", which " + strings.Join(packages, " and ") + " owns"
		}
	}
	return "imports " + imported + ", which has no owner in the table"
}

func mayImport(dir, own string) bool {
	if under(own, dir) {
		return true
	}
	if under(dir, "appliance") {
		from, to := wing(dir), wing(own)
		return from >= 0 && (to >= 0 && to <= from || own == "kernel")
	}
	for at := dir; at != "."; at = path.Dir(at) {
		if allowed, known := folders[at]; known {
			return slices.ContainsFunc(allowed, func(a string) bool { return under(own, a) })
		}
	}
	return false
}

func mayTest(dir, own string) bool {
	for at := dir; at != "."; at = path.Dir(at) {
		if slices.ContainsFunc(forTests[at], func(a string) bool { return under(own, a) }) {
			return true
		}
	}
	return false
}

// wing is the place of a package's wing in the list, -1 outside appliance/ and
// where no such wing is.
func wing(dir string) int {
	parts := strings.Split(dir, "/")
	if len(parts) < 3 || parts[0] != "appliance" {
		return -1
	}
	return slices.Index(wings, parts[1])
}

func isPure(dir string) bool {
	name, ok := strings.CutPrefix(dir, "appliance/")
	return ok && slices.Contains(pure, name)
}

func under(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// TestPure: a pure package reaches no impure one, by any way, and calls no
// clock; what could stand in the table stands there.
func TestPure(t *testing.T) {
	direct := map[string][]string{} // package of appliance to what makes it impure
	deps := map[string][]string{}
	for _, f := range read(t) {
		if f.test() || wing(f.dir()) < 0 {
			continue
		}
		dir := f.dir()
		deps[dir] = append(deps[dir], "")
		for _, imported := range f.imports {
			if own, ok := strings.CutPrefix(imported, "phase/"); ok {
				deps[dir] = append(deps[dir], own)
			} else if slices.Contains(impure, imported) || under(imported, "golang.org/x/sys") {
				direct[dir] = append(direct[dir], imported)
			}
		}
		for _, call := range f.calls {
			if slices.Contains(impureCalls, call) {
				direct[dir] = append(direct[dir], call)
			}
		}
	}
	// reason is how a package comes to touch the world, "" when it does not.
	var reason func(dir string) string
	reason = func(dir string) string {
		if len(direct[dir]) > 0 {
			return direct[dir][0]
		}
		for _, own := range deps[dir] {
			if own != "" && own != dir {
				if why := reason(own); why != "" {
					return own + ": " + why
				}
			}
		}
		return ""
	}
	for dir := range deps {
		why := reason(dir)
		switch {
		case isPure(dir) && why != "":
			t.Errorf("%s is pure and touches the world by %s", dir, why)
		case !isPure(dir) && why == "":
			t.Errorf("%s touches nothing: name it among the pure packages", dir)
		}
	}
}

// TestNoStaleRows: every row of the tables speaks of something that is there.
func TestNoStaleRows(t *testing.T) {
	used, dirs := map[string]bool{}, map[string]bool{}
	for _, f := range read(t) {
		for at := f.dir(); at != "."; at = path.Dir(at) {
			dirs[at] = true
		}
		for _, imported := range f.imports {
			own, ours := strings.CutPrefix(imported, "phase/")
			for at := f.dir(); at != "."; at = path.Dir(at) {
				if f.test() {
					for _, allowed := range forTests[at] {
						if ours && under(own, allowed) {
							used["tests of "+at+" "+allowed] = true
						}
					}
					continue
				}
				for _, allowed := range folders[at] {
					if ours && under(own, allowed) {
						used[at+" "+allowed] = true
					}
				}
			}
			for library, packages := range owners {
				for _, p := range packages {
					if !f.test() && strings.HasPrefix(imported, library) && under(f.dir(), p) {
						used[p+" "+library] = true
					}
				}
			}
		}
	}
	row := func(what string, ok bool) {
		if !ok {
			t.Errorf("stale row: %s", what)
		}
	}
	for _, w := range wings {
		row("wing "+w, dirs["appliance/"+w])
	}
	for _, p := range pure {
		row("pure "+p, dirs["appliance/"+p])
	}
	for folder, allowed := range folders {
		row("folder "+folder, dirs[folder])
		for _, a := range allowed {
			row(fmt.Sprintf("%s imports %s", folder, a), used[folder+" "+a])
		}
	}
	for folder, allowed := range forTests {
		for _, a := range allowed {
			row(fmt.Sprintf("tests of %s import %s", folder, a), used["tests of "+folder+" "+a])
		}
	}
	for library, packages := range owners {
		for _, p := range packages {
			row(fmt.Sprintf("%s owns %s", p, library), used[p+" "+library])
		}
	}
}
