package kexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/machine/linux"
	"phase/appliance/release/manifest"

	"golang.org/x/sys/unix"
)

// Load checks every byte of the release once more, wherever it came from, and
// hands it to the kernel. Afterwards the place is
// empty and its memory free. When memory is short the other programs are
// paused; if it then fails after all they are started again.
func (s *Staging) Load(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return errors.New("this release was loaded or given up already")
	}
	if err := s.verify(ctx); err != nil {
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
// at the beginning, and seals the file against writing. What lies on disk could
// still be changed by root; what lies in memory cannot.
func (s *Staging) verify(ctx context.Context) error {
	m := s.release.Manifest()
	initramfs := s.region("initramfs")
	if !s.sealed {
		if _, err := io.Copy(io.NewOffsetWriter(s.file, 0), initramfs); err != nil {
			return fmt.Errorf("placing the initramfs: %w", err)
		}
		if !s.onDisk {
			if _, err := unix.FcntlInt(s.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
				return fmt.Errorf("sealing the release against writing: %w", err)
			}
		}
		s.sealed = true
	}
	// Beside each other: hashing is slow on a machine without instructions for it.
	var wait sync.WaitGroup
	errs := make([]error, 1+len(m.Artifacts))
	check := func(i int, what string, bytes io.Reader, want manifest.Artifact) {
		wait.Go(func() {
			is, err := manifest.Measure(ctx, bytes)
			if err != nil {
				errs[i] = fmt.Errorf("reading %s: %w", what, err)
			} else if is != want {
				errs[i] = refusal.New(refusal.Digest, "%s of version %d is %s, signed is %s", what, m.Version, is.SHA256, want.SHA256)
			}
		})
	}
	check(0, "initramfs in its place", io.NewSectionReader(s.file, 0, initramfs.size), m.Artifacts["initramfs"])
	for i, name := range s.Names() {
		check(1+i, name, s.region(name), m.Artifacts[name])
	}
	wait.Wait()
	return errors.Join(errs...)
}

// makeRoom sees to it that the load will not exhaust memory: it drops caches,
// pauses the other programs if it must, and refuses if that is not enough.
func (s *Staging) makeRoom(ctx context.Context) error {
	need := NeedOf(s.sizes).Load
	if s.onDisk {
		if err := dropCache(s.file); err != nil {
			return fmt.Errorf("writing the release to disk: %w", err)
		}
	}
	memory, err := s.options.Memory()
	if err != nil {
		return err
	}
	// kexec_load gives no more than half of the memory, and says EINVAL.
	what := fmt.Sprintf("loading version %d", s.release.Manifest().Version)
	if taken := s.sizes.Kernel + s.sizes.Initrd; taken > memory.Total/2 {
		return refusal.New(refusal.Busy, "%s takes %s and a kernel gives at most half of the machine's memory for it, here %s; it is not loaded; give the machine more memory",
			what, ui.Bytes(taken), ui.Bytes(memory.Total/2))
	}
	if memory.Available >= need+comfort {
		return nil
	}
	if err := s.options.Pause(ctx); err != nil {
		return fmt.Errorf("freeing memory: %w", err)
	}
	s.paused = true
	if memory, err = s.options.Memory(); err != nil {
		return err
	}
	return room(what, need, memory.Available, "it is not loaded; give the machine more memory")
}
