package kexec

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"phase/appliance/boot"
	"phase/appliance/linux"
	"phase/appliance/release"
	"phase/appliance/segments"
	"phase/appliance/trust"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// maxKernel is the largest kernel that is unpacked: four times today's.
const maxKernel = 256 * mib

func nextCmdline(v trust.Verified, o Options) (string, error) {
	return boot.NextCmdline(v.Manifest().Cmdline, o.Running, o.Conf, v.Digest())
}

func (r *region) reader() *io.SectionReader {
	return io.NewSectionReader(r.staging.file, r.at, r.size)
}

// Load checks every byte of the release once more, whoever brought it and
// wherever it has been, and hands it to the kernel. Afterwards the place is
// empty and its memory free. When memory is short the other programs are
// paused; if it then fails after all they are started again.
func (s *Staging) Load(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return errors.New("this release was loaded or given up already")
	}
	if err := s.verify(); err != nil {
		return err
	}
	kernel, done, err := s.kernel()
	if err != nil {
		return err
	}
	defer done()
	defer func() {
		if err != nil && s.paused {
			s.paused = false
			err = errors.Join(err, s.options.Resume(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.makeRoom(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	load := func() error {
		return s.options.Kernel.Load(kernel, linux.Part{File: s.file, Size: s.layout.Size()}, s.cmdline)
	}
	err = load()
	if errors.Is(err, unix.ENOMEM) && !s.paused {
		// Memory that could be freed does not always count: what is asked for
		// last is not waited for. With the services paused and caches dropped it
		// is free, if it ever will be.
		if err := s.options.Pause(ctx); err != nil {
			return fmt.Errorf("freeing memory: %w", err)
		}
		s.paused = true
		err = load()
	}
	if err != nil {
		return fmt.Errorf("loading version %d: %w", s.release.Manifest().Version, err)
	}
	err = s.file.Close()
	s.file = nil
	if s.onDisk {
		err = errors.Join(err, clearDisk(s.options.Dir))
	}
	return err
}

// verify hashes every artifact where it lies, copies the initramfs to its place
// at the beginning, and lets nobody write any more. What lies on disk could
// still be changed by root; what lies in memory cannot.
func (s *Staging) verify() error {
	m := s.release.Manifest()
	initramfs := m.Artifacts["initramfs"]
	if !s.sealed {
		at, _, _ := s.layout.Offset(carriedDir + release.FileName("initramfs"))
		if _, err := io.Copy(io.NewOffsetWriter(s.file, 0), io.NewSectionReader(s.file, at, initramfs.Size)); err != nil {
			return fmt.Errorf("placing the initramfs: %w", err)
		}
		if !s.onDisk {
			if _, err := unix.FcntlInt(s.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
				return fmt.Errorf("sealing the release against writing: %w", err)
			}
		}
		s.sealed = true
	}
	type part struct {
		name     string
		at       int64
		artifact release.Artifact
	}
	parts := []part{{"initramfs in its place", 0, initramfs}}
	for _, name := range s.Names() {
		at, _, _ := s.layout.Offset(carriedDir + release.FileName(name))
		parts = append(parts, part{name, at, m.Artifacts[name]})
	}
	// Beside each other: hashing is slow on a machine without instructions for it.
	errs := make([]error, len(parts))
	var wait sync.WaitGroup
	for i, p := range parts {
		wait.Go(func() {
			h := sha256.New()
			if _, err := io.Copy(h, io.NewSectionReader(s.file, p.at, p.artifact.Size)); err != nil {
				errs[i] = fmt.Errorf("reading %s: %w", p.name, err)
			} else if got := release.Digest(h.Sum(nil)); got != p.artifact.SHA256 {
				errs[i] = trust.Refuse(trust.Digest, "%s of version %d is %s, signed is %s", p.name, m.Version, got, p.artifact.SHA256)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// kernel is the kernel as it is loaded: from where it lies, or unpacked to a
// file of its own. How much memory it will take is known from here on.
func (s *Staging) kernel() (kernel linux.Part, done func(), err error) {
	at, size, _ := s.layout.Offset(carriedDir + release.FileName("kernel"))
	kernel, done = linux.Part{File: s.file, At: at, Size: size}, func() {}
	src := io.NewSectionReader(s.file, at, size)
	if packed, err := isPacked(src); err != nil {
		return kernel, nil, err
	} else if packed {
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
	if memory, err := segments.KernelMemory(io.NewSectionReader(kernel.File, kernel.At, kernel.Size)); err == nil {
		s.sizes.Kernel = memory
	} // what has no such header is refused when it is loaded
	return kernel, done, nil
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

// How compressed kernels begin.
var (
	gzipMagic = []byte{0x1f, 0x8b}             // RFC 1952
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd} // RFC 8878
)

// isPacked says whether a kernel must be unpacked to be loaded.
func isPacked(kernel io.ReaderAt) (bool, error) {
	var head [4]byte
	if _, err := kernel.ReadAt(head[:], 0); err != nil {
		return false, fmt.Errorf("the kernel is shorter than 4 bytes: %w", err)
	}
	return bytes.HasPrefix(head[:], gzipMagic) || bytes.Equal(head[:], zstdMagic), nil
}

// Unpack copies a kernel to w, decompressed when it is a gzip or zstd stream,
// and returns the bytes written: at most 256 MiB. arm64 kernels travel
// compressed, since neither the firmware nor kexec would unpack them; an x86_64
// one unpacks itself.
func Unpack(w io.Writer, src io.ReadSeeker) (int64, error) {
	var head [4]byte
	if _, err := io.ReadFull(src, head[:]); err != nil {
		return 0, fmt.Errorf("the kernel is shorter than 4 bytes: %w", err)
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	var from io.Reader = src
	switch {
	case bytes.HasPrefix(head[:], gzipMagic):
		z, err := gzip.NewReader(src)
		if err != nil {
			return 0, err
		}
		from = z
	case bytes.Equal(head[:], zstdMagic):
		// One goroutine, a window of at most 8 MiB: memory is what is short here.
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8*mib))
		if err != nil {
			return 0, err
		}
		defer z.Close()
		from = z
	}
	n, err := io.Copy(w, io.LimitReader(from, maxKernel+1))
	if err != nil {
		return n, err
	}
	if n > maxKernel {
		return n, trust.Refuse(trust.Size, "the kernel is over %d MiB", maxKernel/mib)
	}
	return n, nil
}

// makeRoom sees to it that the load will not exhaust memory: it drops caches,
// pauses the other programs if it must, and refuses if that is not enough.
func (s *Staging) makeRoom(ctx context.Context) error {
	need := NeedOf(s.sizes).Load
	if s.onDisk {
		if err := forget(s.file); err != nil {
			return fmt.Errorf("writing the release to disk: %w", err)
		}
	}
	memory, err := s.options.Memory()
	if err != nil || memory.Available >= need+comfort {
		return err
	}
	if err := s.options.Pause(ctx); err != nil {
		return fmt.Errorf("freeing memory: %w", err)
	}
	s.paused = true
	if memory, err = s.options.Memory(); err != nil {
		return err
	}
	return room(fmt.Sprintf("loading version %d", s.release.Manifest().Version), need, memory.Available, "it is not loaded; give the machine more memory")
}
