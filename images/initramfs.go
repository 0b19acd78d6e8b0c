package images

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// buildInitramfs compiles init/initramfs and wraps it in the archive that the
// kernel unpacks: /init, and the nodes a kernel opens before anything is
// mounted.
func (p Pieces) buildInitramfs(ctx context.Context, source Source) error {
	binary := p.path("gok", "initramfs-init")
	_, err := command{
		name: "go", args: []string{"build", "-trimpath", "-buildvcs=false", "-tags=gokrazy,netgo,osusergo", "-ldflags=-s -w -buildid= " + versionFlag(source.Name),
			"-o", binary, "./init/initramfs"},
		dir: source.Checkout, env: []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + p.Kernel.GOARCH}, log: source.Log,
	}.run(ctx)
	if err != nil {
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

// Modes of what is in an initramfs, S_IF… and permissions.
const (
	modeFile   = 0o100000
	modeFolder = 0o040000
	modeChar   = 0o020000
)

type node struct {
	path         string
	mode         uint32
	major, minor uint32
	data         []byte
}

// writeInitramfs writes a "newc" archive (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
func writeInitramfs(w io.Writer, init []byte, at time.Time) error {
	var out bytes.Buffer
	for i, n := range []node{
		{path: "dev", mode: modeFolder | 0o755},
		{path: "dev/console", mode: modeChar | 0o600, major: 5, minor: 1},
		{path: "dev/kmsg", mode: modeChar | 0o600, major: 1, minor: 11},
		{path: "dev/null", mode: modeChar | 0o666, major: 1, minor: 3},
		{path: "newroot", mode: modeFolder | 0o755},
		{path: "proc", mode: modeFolder | 0o555},
		{path: "release", mode: modeFolder | 0o755},
		{path: "init", mode: modeFile | 0o755, data: init},
	} {
		n.write(&out, i+1, at)
	}
	node{path: "TRAILER!!!"}.write(&out, 0, time.Unix(0, 0))
	_, err := w.Write(out.Bytes())
	return err
}

func (n node) write(out *bytes.Buffer, inode int, at time.Time) {
	links := 1
	if n.mode&modeFolder == modeFolder {
		links = 2
	}
	out.WriteString("070701")
	for _, field := range []int64{
		int64(inode), int64(n.mode), 0, 0, int64(links), at.Unix(), int64(len(n.data)),
		0, 0, int64(n.major), int64(n.minor), int64(len(n.path) + 1), 0,
	} {
		fmt.Fprintf(out, "%08X", uint32(field))
	}
	out.WriteString(n.path + "\x00")
	align(out)
	out.Write(n.data)
	align(out)
}

func align(out *bytes.Buffer) {
	for out.Len()%4 != 0 {
		out.WriteByte(0)
	}
}
