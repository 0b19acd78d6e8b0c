package kexec

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"phase/appliance/base/refusal"
	"phase/appliance/machine/kexecplan"
	"phase/appliance/machine/linux"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// maxKernel is the largest kernel that is unpacked: four times today's.
const maxKernel = 256 * mib

// kernel is the kernel as it is loaded: from where it lies, or unpacked to a
// file of its own. How much memory it will take is known from here on.
func (s *Staging) kernel() (kernel linux.Part, done func(), err error) {
	src := s.region("kernel")
	kernel, done = linux.Part{File: s.file, At: src.at, Size: src.size}, func() {}
	var head [4]byte
	if _, err := src.ReadAt(head[:], 0); err != nil {
		return kernel, nil, fmt.Errorf("the kernel is shorter than 4 bytes: %w", err)
	}
	if packing(head[:]) != unpacked {
		f, err := s.kernelFile()
		if err != nil {
			return kernel, nil, fmt.Errorf("making room for the kernel: %w", err)
		}
		n, err := Unpack(f, src)
		if err != nil {
			return kernel, nil, errors.Join(fmt.Errorf("unpacking the kernel: %w", err), f.Close())
		}
		kernel, done = linux.Part{File: f, Size: n}, func() { f.Close() }
	}
	s.sizes.Unpacked = 0 // it is there already, or not needed
	if memory, err := kexecplan.KernelMemory(io.NewSectionReader(kernel.File, kernel.At, kernel.Size)); err == nil {
		s.sizes.Kernel = memory
	} // what has no such header is refused when it is loaded
	if packed, ok := kexecplan.FindPacked(src, src.size); ok && s.hasMemory(packed.Head+packed.Unpacked) {
		f, err := unpackInside(kernel, packed, s.cmdline)
		if err != nil {
			return kernel, nil, fmt.Errorf("unpacking the kernel: %w", err)
		}
		if f != nil {
			kernel, done = linux.Part{File: f, Size: packed.Head + packed.Unpacked}, func() { f.Close() }
		}
	}
	return kernel, done, nil
}

// hasMemory says whether there is memory for extra bytes beside the load, so that
// no service has to be paused for it.
func (s *Staging) hasMemory(extra int64) bool {
	memory, err := s.options.Memory()
	return err == nil && memory.Available >= NeedOf(s.sizes).Load+extra+comfort
}

// unpackInside unpacks what a kernel that unpacks itself carries, so that the
// machine does it while it still serves. The place in memory that it would have
// drawn is drawn here, unless the command line says nokaslr. nil: it is packed
// in a way that is not known here, and will do it itself.
func unpackInside(kernel linux.Part, p kexecplan.Packed, cmdline string) (f *os.File, err error) {
	code, unmap, err := kernel.Map()
	if err != nil {
		return nil, err
	}
	defer unmap()
	stream := code[p.At:][:p.Size]
	if packing(stream) == unpacked {
		return nil, nil
	}
	if f, err = memoryFile("kernel", p.Head+p.Unpacked); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	out, err := unix.Mmap(int(f.Fd()), 0, int(p.Head+p.Unpacked), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, unix.Munmap(out)) }()
	copy(out, code[:p.Head])
	if err := inflate(out[p.Head:], stream); err != nil {
		return f, err
	}
	if slices.Contains(strings.Fields(cmdline), "nokaslr") {
		return f, nil
	}
	seed := make([]byte, 8)
	_, _ = rand.Read(seed) // never fails (crypto/rand)
	if kexecplan.Move(out, binary.LittleEndian.Uint64(seed)) != nil {
		return nil, f.Close() // it would stay at an address that everybody knows
	}
	return f, nil
}

// inflate fills dst exactly. What comes out is its own window, so that nothing
// else is allocated: the kernel's is 128 MiB.
func inflate(dst, src []byte) error {
	if packing(src) == gzipped {
		z, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(z, dst)
		return err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128*mib), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return err
	}
	defer z.Close()
	got, err := z.DecodeAll(src, dst[:0:len(dst)])
	if err == nil && (len(got) != len(dst) || &got[0] != &dst[0]) {
		err = fmt.Errorf("%d bytes came out, the kernel's header says %d", len(got), len(dst))
	}
	return err
}

// kernelFile makes an empty file: on the disk when the initrd is there and the
// disk has room for the largest kernel it can be, else in memory. On disk it has
// no name, so that nothing is left of it.
func (s *Staging) kernelFile() (*os.File, error) {
	if s.onDisk && roomOn(s.options.Dir) >= s.sizes.Unpacked+diskSlack {
		return os.OpenFile(filepath.Clean(s.options.Dir), unix.O_TMPFILE|os.O_RDWR, 0o600)
	}
	return memoryFile("kernel", 0)
}

func roomOn(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}

// How a kernel can be compressed.
const (
	unpacked = iota
	gzipped
	zstandard
)

// packing tells from the first four bytes how a kernel is compressed.
func packing(head []byte) int {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}): // RFC 1952
		return gzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878
		return zstandard
	}
	return unpacked
}

// Unpack copies a kernel to w, as Unpacked reads it, and returns the bytes
// written.
func Unpack(w io.Writer, src io.Reader) (int64, error) {
	from, err := Unpacked(src)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	return io.Copy(w, from)
}

// Unpacked reads a kernel, decompressed when it is a gzip or zstd stream: at most
// 256 MiB, more are an error. arm64 kernels travel compressed, since neither the
// firmware nor kexec would unpack them; an x86_64 one unpacks itself.
func Unpacked(src io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReader(src)
	head, err := in.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("the kernel is shorter than 4 bytes: %w", err)
	}
	from := io.NopCloser(in)
	switch packing(head) {
	case gzipped:
		if from, err = gzip.NewReader(in); err != nil {
			return nil, err
		}
	case zstandard:
		// One goroutine, a window of at most 8 MiB: memory is what is short here.
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8*mib))
		if err != nil {
			return nil, err
		}
		from = z.IOReadCloser()
	}
	return &capped{from, maxKernel}, nil
}

// capped refuses what is longer than it may be.
type capped struct {
	io.ReadCloser
	left int64
}

func (c *capped) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if c.left -= int64(n); c.left < 0 {
		return 0, refusal.New(refusal.Size, "the kernel is over %d MiB", maxKernel/mib)
	}
	return n, err
}
