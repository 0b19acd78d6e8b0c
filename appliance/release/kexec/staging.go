// Package kexec loads a verified release into the kernel and has init jump into
// it. It is the only way to another kernel: it accepts a trust.Verified and
// nothing else, gives its artifacts a place where the kernel will read them
// from, checks every byte once more, and loads. What a machine without a disk
// must still have after the jump travels in the initrd: the release itself,
// byte for byte as it was signed. Whether it all fits is computed before, since
// with too little memory the kernel panics.
package kexec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/machine/initrd"
	"phase/appliance/machine/kexecload"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/trust"

	"golang.org/x/sys/unix"
)

// Loader takes a kernel and its initrd, as kexecload.Running does.
type Loader interface {
	Load(kernel, initrd linux.Part, cmdline string) error
}

// Options are the machine around a load. OnNode fills them for a node.
type Options struct {
	Kernel  Loader
	Running string   // the running kernel's command line
	Conf    []string // words of phase.conf that hold, see boot.Options
	Dir     string   // folder on disk that may be used when memory is short; empty: none

	// First is the small init of the running release, which arms the watchdog of a
	// trial before anything of the next release runs; nil: there is none.
	First func() ([]byte, error)

	// Memory asks for the figures of this moment.
	Memory func() (linux.Memory, error)
	// Freeable is about what Pause would free, in bytes.
	Freeable func(context.Context) int64
	// Pause stops other programs to free their memory, Resume starts them.
	Pause, Resume func(context.Context) error
}

// seedFile carries randomness over the jump: without it a machine that has no
// source in hardware waits seconds for its first key.
const (
	seedFile  = "seed"
	seedBytes = 64
)

// Staging is the place of one release on its way into the kernel. It is a
// fetch.Destination. It is used for one release, and by one caller at a time,
// except for its regions.
type Staging struct {
	release trust.Verified
	options Options
	layout  *initrd.Layout
	sizes   Sizes

	mu      sync.Mutex
	file    *os.File // the initrd in the making
	onDisk  bool
	first   []byte           // see Options.First; empty: none
	have    map[string]int64 // bytes kept from an earlier fetch, by artifact
	paused  bool
	sealed  bool
	cmdline string
}

// Ready refuses a release that this machine cannot load: one with a command
// line the kernel would not take, too big for the memory, or any at all where
// loading is not allowed. It is asked before anything is downloaded.
func Ready(ctx context.Context, v trust.Verified, o Options) error {
	_, _, err := plan(ctx, v, o)
	return err
}

func plan(ctx context.Context, v trust.Verified, o Options) (s *Staging, onDisk bool, err error) {
	if !v.Valid() {
		return nil, false, errors.New("only a verified release can be loaded")
	}
	if _, real := o.Kernel.(kexecload.Running); real {
		if err := linux.LoadAllowed(); err != nil {
			return nil, false, err
		}
	}
	m := v.Manifest()
	if arch := names.RunningArch(); m.Arch != arch {
		return nil, false, refusal.New(refusal.Arch, "version %d is for %s, this machine is %s", m.Version, m.Arch, arch)
	}
	s = &Staging{release: v, options: o, have: map[string]int64{}}
	var first string
	if o.First != nil {
		// Without it the next release's own init arms the watchdog: better than no
		// update ever again.
		if s.first, err = o.First(); err != nil {
			slog.Warn(fmt.Sprintf("the next release guards its trial by itself alone: %v", err))
		} else {
			first = layout.First
		}
	}
	if s.cmdline, err = settings.NextCmdline(m.Cmdline, o.Running, o.Conf, v.Digest(), first); err != nil {
		return nil, false, refusal.New(refusal.Format, "version %d: %v", m.Version, err)
	}
	if s.layout, err = planInitrd(v, len(s.first)); err != nil {
		return nil, false, refusal.New(refusal.Size, "version %d: %v", m.Version, err)
	}
	s.sizes = guess(m.Arch, m.Artifacts["kernel"].Size, s.layout.Size())
	memory, err := o.Memory()
	if err != nil {
		return nil, false, err
	}
	var free, disk int64
	if need := NeedOf(s.sizes); memory.Available < need.Stage+comfort { // asking costs time
		free = o.Freeable(ctx)
		disk = roomIn(o.Dir)
	}
	onDisk, err = CheckStage(m.Version, s.sizes, memory, free, disk)
	return s, onDisk, err
}

// Stage makes the place for a release, after the checks of Ready. What an
// interrupted Staging of the same release left on disk is found again.
func Stage(ctx context.Context, v trust.Verified, o Options) (*Staging, error) {
	s, onDisk, err := plan(ctx, v, o)
	if err != nil {
		return nil, err
	}
	s.onDisk = onDisk
	if onDisk {
		s.file, s.have, err = openDisk(o.Dir, v, s.layout.Size())
	} else {
		s.file, err = memoryFile("initrd", s.layout.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("making room for version %d: %w", v.Manifest().Version, err)
	}
	if err := s.writeKnown(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// planInitrd plans the initrd of a release: the signed initramfs, then the manifest
// and every artifact under the name that a folder of releases has it by.
func planInitrd(v trust.Verified, first int) (*initrd.Layout, error) {
	m := v.Manifest()
	files := []initrd.File{
		{Name: seedFile, Size: seedBytes},
		{Name: layout.InInitrd(layout.ManifestFile), Size: int64(len(v.Envelope()))},
	}
	if first > 0 {
		files = append(files, initrd.File{Name: layout.First[1:], Size: int64(first), Program: true})
	}
	for _, name := range slices.Sorted(maps.Keys(m.Artifacts)) {
		files = append(files, initrd.File{Name: layout.InInitrd(layout.FileName(name)), Size: m.Artifacts[name].Size})
	}
	return initrd.NewLayout(m.Artifacts["initramfs"].Size, files)
}

// writeKnown writes what is there without a download.
func (s *Staging) writeKnown() error {
	seed := make([]byte, seedBytes)
	_, _ = rand.Read(seed) // never fails (crypto/rand)
	seedAt, _, _ := s.layout.Offset(seedFile)
	if _, err := s.file.WriteAt(seed, seedAt); err != nil {
		return fmt.Errorf("writing the seed that is carried over: %w", err)
	}
	if len(s.first) > 0 {
		at, _, _ := s.layout.Offset(layout.First[1:])
		if _, err := s.file.WriteAt(s.first, at); err != nil {
			return fmt.Errorf("writing the program that runs first: %w", err)
		}
	}
	at, _, _ := s.layout.Offset(layout.InInitrd(layout.ManifestFile))
	if _, err := s.file.WriteAt(s.release.Envelope(), at); err != nil {
		return fmt.Errorf("writing the manifest that is carried over: %w", err)
	}
	return s.layout.WriteFrame(s.file)
}

// Names are the artifacts that are to be fetched: all of them, since all are
// carried over.
func (s *Staging) Names() []string { return slices.Sorted(maps.Keys(s.release.Manifest().Artifacts)) }

// Where says in words where the release is staged.
func (s *Staging) Where() string {
	if s.onDisk {
		return "on disk"
	}
	return "in memory"
}

// Release is what is staged.
func (s *Staging) Release() trust.Verified { return s.release }

// Cmdline is the command line the next kernel gets.
func (s *Staging) Cmdline() string { return s.cmdline }

// Region implements fetch.Destination.
func (s *Staging) Region(name string, size int64) (fetch.Region, error) {
	if _, have, ok := s.layout.Offset(layout.InInitrd(layout.FileName(name))); !ok || have != size {
		return nil, fmt.Errorf("there is no place for an artifact %q of %d bytes", name, size)
	}
	return s.region(name), nil
}

// region is the place of one artifact within the initrd.
type region struct {
	*io.SectionReader
	staging  *Staging
	name     string
	at, size int64
}

func (s *Staging) region(name string) *region {
	at, size, _ := s.layout.Offset(layout.InInitrd(layout.FileName(name)))
	return &region{SectionReader: io.NewSectionReader(s.file, at, size), staging: s, name: name, at: at, size: size}
}

// WriteAt implements io.WriterAt and never leaves the region.
func (r *region) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > r.size || int64(len(p)) > r.size-off {
		return 0, fmt.Errorf("%d bytes at %d do not fit into %s, which has %d", len(p), off, r.name, r.size)
	}
	return r.staging.file.WriteAt(p, r.at+off)
}

// Have implements fetch.Region.
func (r *region) Have() int64 {
	r.staging.mu.Lock()
	defer r.staging.mu.Unlock()
	return min(r.staging.have[r.name], r.size)
}

// Keep implements fetch.Region.
func (r *region) Keep(prefix int64) error {
	s := r.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have[r.name] = min(max(prefix, 0), r.size)
	if !s.onDisk {
		return nil
	}
	return keepDisk(s.options.Dir, s.file, s.release, s.have)
}

// Close frees the place. What was loaded stays loaded. A download on disk that
// was not loaded is kept for the next Stage of the same release.
func (s *Staging) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// memoryFile makes a file that lives in memory and is named in /proc only.
func memoryFile(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("phase-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
