package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"phase/appliance/base/tool"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

// entry of the rootfs. All of it is in this table, so that nothing of the
// machine that builds is: gok adds that machine's certificates and time
// zone, ports of a web interface that is not there, modules for Xen.
type entry struct {
	path string
	mode fs.FileMode
	link string // a symbolic link to
}

var rootfsTable = []entry{
	{path: ".", mode: fs.ModeDir | 0o755},
	{path: "boot", mode: fs.ModeDir | 0o755},
	{path: "dev", mode: fs.ModeDir | 0o755},
	{path: "etc", mode: fs.ModeDir | 0o755},
	{path: "etc/group", mode: 0o644},
	{path: "etc/hostname", mode: 0o644},
	{path: "etc/hosts", mode: 0o644},
	{path: "etc/passwd", mode: 0o644},
	{path: "etc/phase", mode: fs.ModeDir | 0o755},
	{path: "etc/resolv.conf", link: "/tmp/resolv.conf"},
	{path: "gokrazy", mode: fs.ModeDir | 0o755},
	{path: "gokrazy/init", mode: 0o755},
	{path: "perm", mode: fs.ModeDir | 0o755},
	{path: "proc", mode: fs.ModeDir | 0o555},
	{path: "release", mode: fs.ModeDir | 0o755},
	{path: "run", mode: fs.ModeDir | 0o755},
	{path: "sys", mode: fs.ModeDir | 0o555},
	{path: "tmp", mode: fs.ModeDir | 0o755},
	{path: "user", mode: fs.ModeDir | 0o755},
	{path: "user/phase", mode: 0o755},
	{path: workerPath, mode: 0o755},
}

// rootFile and rootFolder are added when a release is assembled: the roots are
// an input of their own. Version 1 is in rootFile, so that the fleet has one name
// whatever was rotated since, and the later ones are in rootFolder.
var (
	rootFile   = roots.Default[1:]
	rootFolder = filepath.Join(filepath.Dir(rootFile), layout.RootFolder)
)

// makeTree makes what the table names below to; place puts a file there.
func makeTree(to string, place func(path, at string) error) error {
	for _, e := range rootfsTable {
		at := filepath.Join(to, e.path)
		var err error
		switch {
		case e.link != "":
			err = os.Symlink(e.link, at)
		case e.mode.IsDir():
			err = os.MkdirAll(at, 0o755)
		default:
			err = place(e.path, at)
		}
		if err == nil && e.link == "" {
			err = os.Chmod(at, e.mode.Perm()) // whatever the umask
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keepTree moves what the table names from what gok made.
func keepTree(from, to string) error {
	return makeTree(to, func(path, at string) error { return os.Rename(filepath.Join(from, path), at) })
}

// rootfs packs the tree with those roots in it, and keeps the result: many
// releases differ in their manifest alone. gzip, since the kernels know no other
// squashfs.
func (p Pieces) rootfs(ctx context.Context, trusted chain.Chain) (string, error) {
	sum := sha256.New()
	for _, root := range trusted.Roots() {
		sum.Write(root.Raw()) // it never fails
	}
	out := p.path("rootfs-" + hex.EncodeToString(sum.Sum(nil)[:8]) + ".squashfs")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	// A tree of links, so that two releases can be assembled at once.
	tree, err := os.MkdirTemp(p.Dir, "tree.*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	if err := makeTree(tree, func(path, at string) error { return os.Link(p.path(pieceTree, path), at) }); err != nil {
		return "", err
	}
	if err := placeRoots(tree, trusted.Roots()); err != nil {
		return "", err
	}
	for file, piece := range rootfsPieces {
		if err := os.Link(p.path(piece), filepath.Join(tree, file)); err != nil {
			return "", err
		}
	}
	at := strconv.FormatInt(p.Time.Unix(), 10)
	return out, replace(out, func(f *os.File) error {
		_, err := tool.Command{Name: "mksquashfs", Args: append([]string{tree, f.Name()}, strings.Fields(
			"-comp gzip -Xcompression-level 9 -b 131072 -noappend -all-root -no-xattrs -no-exports -no-progress -quiet -mkfs-time "+at+" -all-time "+at)...)}.Run(ctx)
		return err
	})
}

// placeRoots puts the roots into the tree of the rootfs.
func placeRoots(tree string, trusted []trust.Root) error {
	for _, root := range trusted {
		file := rootFile
		if root.Version() > 1 {
			file = filepath.Join(filepath.Dir(rootFile), layout.Root(root.Version()))
		}
		if err := replaceWith(filepath.Join(tree, file), root.Raw()); err != nil {
			return err
		}
	}
	if len(trusted) < 2 {
		return nil
	}
	return os.Chmod(filepath.Join(tree, rootFolder), 0o755) // whatever the umask
}
