package update

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/walls"
	"phase/appliance/release/kexec"
)

// readable are the folders of a node in which this program reads: the roots, what
// the kernel and init say of the machine, the release that runs, the journal of
// trials, the addresses of name servers.
var readable = []string{"/etc", "/proc", "/sys", "/boot", "/release", "/perm/phase", "/tmp"}

// kernelCalls load a kernel. Entering it is init's work.
var kernelCalls = []string{"kexec_load"}

// confine builds the walls around this program, before it reads a byte that comes
// from outside, and returns their names; none without --confine. Of a node that is
// nil nothing is known, and nothing is kept. A folder must be there before the walls
// are: what is not is made.
func (c commandLine) confine(n *node) ([]string, error) {
	if !c.Confine {
		return nil, nil
	}
	d := walls.Daemon{Read: append([]string{c.State, filepath.Dir(c.Root), filepath.Dir(c.Socket), filepath.Dir(c.Store), c.Boot}, readable...), May: kernelCalls}
	for path, mode := range c.own(n) {
		if err := makeFolder(path, mode); err != nil {
			slog.Warn(fmt.Sprintf("%v; nothing is written there", err))
			continue
		}
		d.Write = append(d.Write, path)
	}
	built, err := d.Confine()
	if err != nil {
		return nil, err
	}
	slog.Info("walls around this program: " + strings.Join(built, ", "))
	if !walls.HasLandlock(built) {
		slog.Warn("this kernel has no Landlock: only this program's own care keeps it from writing more than the store and its folders")
	}
	return built, nil
}

// own are the folders that this program writes, and how they are made.
func (c commandLine) own(n *node) map[string]fs.FileMode {
	folders := map[string]fs.FileMode{statefile.UpdateFolder(c.State): 0o750}
	if n == nil {
		return folders
	}
	if n.keeps() {
		folders[c.Store], folders[c.mirrorFolder()] = 0o755, 0o755
	}
	if n.keepsEvidence() {
		folders[evidenceDir] = 0o755
	}
	if options, err := kexec.OnNode(c.State, "update"); err == nil && options.Dir != "" {
		folders[options.Dir] = 0o700
	}
	return folders
}

// makeFolder makes a folder of this program's. A link in its place would open
// the walls to wherever it leads.
func makeFolder(path string, mode fs.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder; delete it", path)
	}
	return err
}
