package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"phase/appliance/base/tool"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/diskimage"
	"phase/kernel"
)

// Pieces is a folder of what releases of one arch are assembled from.
type Pieces struct {
	Dir    string
	Kernel kernel.Kernel
	Time   time.Time // of the files in rootfs and initramfs
}

// Files in the folder of pieces.
const (
	pieceTree      = "rootfs"        // the rootfs, without root.json
	pieceImage     = "kernel"        // as a firmware's loader takes it
	pieceKernel    = "kernel.zst"    // the artifact, where that is another file
	pieceInitramfs = "initramfs.img" // the artifact
	pieceLoader    = "mbr"           // the BIOS boot loader
	pieceEFI       = "boot.efi"      // the UEFI boot loader
	piecePerm      = "perm.ext4"     // the persistent partition, empty
	pieceOrigin    = "origin.json"   // what they were made from
	pieceAbout     = "pieces.json"   // written last: the rest is complete
)

func (p Pieces) path(parts ...string) string {
	return filepath.Join(append([]string{p.Dir}, parts...)...)
}

// artifactKernel is the file of the artifact "kernel".
func (p Pieces) artifactKernel() string {
	if p.Kernel.Compressed {
		return p.path(pieceKernel)
	}
	return p.path(pieceImage)
}

type about struct {
	Arch string    `json:"arch"`
	Time time.Time `json:"time"`
}

func (p Pieces) describe(context.Context, Source) error {
	data, err := json.Marshal(about{p.Kernel.Arch, p.Time.UTC()})
	if err != nil {
		return err
	}
	return replaceWith(p.path(pieceAbout), data)
}

// LoadPieces finds what Compile left in a folder.
func LoadPieces(dir string) (Pieces, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Pieces{}, err
	}
	p := Pieces{Dir: dir}
	data, err := os.ReadFile(p.path(pieceAbout))
	if err != nil {
		return Pieces{}, fmt.Errorf("looking for compiled pieces (make image makes them): %w", err)
	}
	var a about
	if err := json.Unmarshal(data, &a); err != nil {
		return Pieces{}, fmt.Errorf("reading %s: %w", p.path(pieceAbout), err)
	}
	p.Time = a.Time
	p.Kernel, err = kernel.For(a.Arch)
	return p, err
}

// unpackRoot unpacks gok's root file system: its file times are those of
// the build, and it holds things of the machine that builds. See rootfs.go.
func (p Pieces) unpackRoot(ctx context.Context, _ Source) error {
	_, err := tool.Command{Name: "unsquashfs", Args: []string{"-no-progress", "-no-xattrs", "-d", p.path("gok", "root"), p.path("gok", "root.squashfs")}}.Run(ctx)
	if err != nil {
		return err
	}
	return openFolders(p.path("gok", "root"))
}

// openFolders lets its owner write in all folders of a tree. gok's may be read
// alone, so that nobody but root could put something in, or delete them.
func openFolders(tree string) error {
	return filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o755)
	})
}

// keepRoot keeps what the rootfs is to hold.
func (p Pieces) keepRoot(_ context.Context, source Source) error {
	if err := keepTree(p.path("gok", "root"), p.path(pieceTree)); err != nil {
		return err
	}
	return p.refuseTraces(source)
}

// refuseTraces searches the programs for the folder they were built from,
// which a build flag lost from config.json would put there.
func (p Pieces) refuseTraces(source Source) error {
	for _, program := range []string{"gokrazy/init", "user/phase", workerPath} {
		data, err := os.ReadFile(p.path(pieceTree, program))
		if err != nil {
			return err
		}
		if bytes.Contains(data, []byte(source.Checkout+"/")) {
			return fmt.Errorf("%s names the folder it was built from: give it -trimpath, in config.json for what gok compiles", program)
		}
	}
	return nil
}

// takeLoaders gets the two boot loaders, gokrazy's for BIOS and systemd-boot
// for UEFI, out of the pieces that gok wrote: its packages that hold them are
// internal.
func (p Pieces) takeLoaders(ctx context.Context, source Source) error {
	mbr, err := os.ReadFile(p.path("gok", "mbr.img"))
	if err != nil {
		return err
	}
	if len(mbr) < gpt.LoaderSize {
		return fmt.Errorf("gok's boot loader has only %d bytes", len(mbr))
	}
	if err := replaceWith(p.path(pieceLoader), mbr[:gpt.LoaderSize]); err != nil {
		return err
	}
	_, err = tool.Command{Name: "mcopy", Args: []string{"-n", "-i", p.path("gok", "boot.fat"), "::" + diskimage.EFIPath[p.Kernel.Arch], p.path(pieceEFI)}}.Run(ctx)
	if err != nil {
		return err
	}
	return os.Chmod(p.path(pieceEFI), 0o644) // it is in the rootfs too, whatever the umask
}

// takeKernel finds the kernel in its module, at the version that go.mod pins.
func (p Pieces) takeKernel(ctx context.Context, source Source) error {
	found, err := moduleAt(ctx, source.Checkout, p.Kernel.Module)
	if err != nil {
		return err
	}
	from := filepath.Join(found.Dir, p.Kernel.File)
	if err := copyFile(from, p.path(pieceImage), io.Copy); err != nil || !p.Kernel.Compressed {
		return err
	}
	return copyFile(from, p.path(pieceKernel), compress)
}

// module is one of Go: where its files are, and its line of go.sum.
type module struct{ Dir, Version, Sum string }

// moduleAt is a module at the version that go.mod pins.
func moduleAt(ctx context.Context, checkout, name string) (m module, err error) {
	out, err := tool.Command{Name: "go", Args: []string{"mod", "download", "-json", name}, Dir: checkout}.Run(ctx)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return m, fmt.Errorf("reading what go says of %s: %w", name, err)
	}
	return m, nil
}

// formatPerm makes the empty ext4: blocks of 4 KiB, so that it can grow to any
// size in place, and a journal of 4 MiB.
func (p Pieces) formatPerm(ctx context.Context, source Source) error {
	id := gpt.NewID([]byte("ext4 " + p.Kernel.Arch)).String()
	_, err := tool.Command{
		Name: "mkfs.ext4",
		Args: append(strings.Fields("-q -F -b 4096 -I 256 -i 16384 -m 0 -J size=4 -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum -L phase-perm -U "+id+
			" -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,hash_seed="+id), p.path(piecePerm), fmt.Sprintf("%dk", disk.PermBytes>>10)),
		Env: []string{"MKE2FS_CONFIG=/dev/null", fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", p.Time.Unix())},
	}.Run(ctx)
	if err != nil {
		return err
	}
	return os.Chmod(p.path(piecePerm), 0o644) // it is in the rootfs too, whatever the umask
}
