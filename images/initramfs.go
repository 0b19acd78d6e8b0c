package images

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"syscall"
	"time"

	"phase/appliance/machine/initrd"
)

// initramfsInit is the program in it, where it was compiled to.
const initramfsInit = "initramfs-init"

// buildInitramfs compiles init/initramfs and wraps it in the archive that the
// kernel unpacks: /init, and the nodes a kernel opens before anything is
// mounted.
func (p Pieces) buildInitramfs(ctx context.Context, source Source) error {
	binary := p.path("gok", initramfsInit)
	if err := p.goBuild(ctx, source, binary, "./init/initramfs", "-buildid= "+versionFlag(source.Name)); err != nil {
		return err
	}
	init, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	return replace(p.path(pieceInitramfs), func(f *os.File) error {
		z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
		if err != nil {
			return err
		}
		if err := writeInitramfs(z, init, p.Time); err != nil {
			return err
		}
		return z.Close()
	})
}

// writeInitramfs writes the archive that the kernel unpacks first.
func writeInitramfs(w io.Writer, init []byte, at time.Time) error {
	var out bytes.Buffer
	put := func(data []byte) {
		out.Write(data)
		out.Write(make([]byte, -out.Len()&3)) // the next header is at a multiple of 4
	}
	for i, n := range []initrd.Node{
		{Name: "dev", Mode: syscall.S_IFDIR | 0o755},
		{Name: "dev/console", Mode: syscall.S_IFCHR | 0o600, Major: 5, Minor: 1},
		{Name: "dev/kmsg", Mode: syscall.S_IFCHR | 0o600, Major: 1, Minor: 11},
		{Name: "dev/null", Mode: syscall.S_IFCHR | 0o666, Major: 1, Minor: 3},
		{Name: "newroot", Mode: syscall.S_IFDIR | 0o755},
		{Name: "proc", Mode: syscall.S_IFDIR | 0o555},
		{Name: "release", Mode: syscall.S_IFDIR | 0o755},
		{Name: "init", Mode: syscall.S_IFREG | 0o755, Size: int64(len(init))},
	} {
		n.Inode, n.Modified = i+1, at.Unix()
		put(n.Header())
	}
	put(init)
	put(initrd.Node{Name: initrd.Trailer}.Header())
	_, err := w.Write(out.Bytes())
	return err
}
