package crashfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// State is what a power cut left.
type State struct {
	// Marks are the promises made before it.
	Marks []string
	// Cut is how many things had been asked of the file system.
	Cut int
	// Kept and Lost count what was not synced; a torn write is kept.
	Kept, Lost int

	inodes map[uint64]*inode
}

// sector is what a disk writes whole or not at all.
const sector = 512

// keeps is how much is kept of what was not synced, of 1.
var keeps = []float64{0, 0.2, 0.5, 0.8, 1}

// Crash draws a state that a power cut could leave, after the first cut things
// that were asked for.
func (f *FS) Crash(cut int, r *rand.Rand) *State {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log[:min(cut, len(f.log))]
	s := &State{Cut: len(log), inodes: map[uint64]*inode{}}
	for id, n := range f.inodes {
		c := &inode{mode: n.mode, uid: n.uid, gid: n.gid, target: n.target}
		if n.is(syscall.S_IFDIR) {
			c.entries = map[string]uint64{}
		}
		s.inodes[id] = c
	}
	durable := synced(log)
	keep := keeps[r.IntN(len(keeps))]
	// A journal keeps the order of names; POSIX does not.
	journal := -1
	if r.IntN(2) == 0 {
		journal = r.IntN(len(log) + 1)
	}
	var pending []op
	for i, o := range log {
		switch o.kind {
		case opMark:
			s.Marks = append(s.Marks, o.text)
		case opNames:
			kept := durable[i] || journal < 0 && r.Float64() < keep || journal > i
			s.count(durable[i], kept)
			if kept {
				apply(s.inodes, o.names)
			}
		case opWrite, opTruncate:
			if durable[i] {
				n := s.inodes[o.inode]
				n.data = o.change(n.data)
			} else {
				pending = append(pending, o)
			}
		}
	}
	for _, i := range order(len(pending), r) {
		kept := r.Float64() < keep
		s.count(false, kept)
		if kept {
			s.write(pending[i], r)
		}
	}
	return s
}

func (s *State) count(durable, kept bool) {
	switch {
	case durable:
	case kept:
		s.Kept++
	default:
		s.Lost++
	}
}

// order is that in which what was not synced reaches the disk: as it was asked
// for, or any.
func order(n int, r *rand.Rand) []int {
	o := r.Perm(n)
	if r.IntN(2) == 0 {
		slices.Sort(o)
	}
	return o
}

// synced says of each op whether a later one has made it durable.
func synced(log []op) []bool {
	durable, until := make([]bool, len(log)), map[uint64]bool{}
	all := false
	for i, o := range slices.Backward(log) {
		switch o.kind {
		case opSync:
			all = all || o.inode == 0
			until[o.inode] = true
		case opWrite, opTruncate:
			durable[i] = all || until[o.inode]
		case opNames:
			durable[i] = all || slices.ContainsFunc(o.names, func(n name) bool { return until[n.folder] })
		}
	}
	return durable
}

// write does what was kept of a change: all of it; the length alone, with zeros
// where nothing was; or some sectors.
func (s *State) write(o op, r *rand.Rand) {
	n := s.inodes[o.inode]
	if o.kind == opTruncate || len(o.data) == 0 {
		n.data = o.change(n.data)
		return
	}
	before := slices.Clone(n.data)
	n.data = o.change(n.data)
	end := o.offset + int64(len(o.data))
	old := resized(before, max(int64(len(before)), end))
	switch r.IntN(4) {
	case 0: // the length
		n.data = old
	case 1: // the first sectors
		at := o.offset + r.Int64N(int64(len(o.data)))
		at -= at % sector
		if at = max(at, o.offset); at < end {
			copy(n.data[at:end], old[at:end])
		}
	case 2: // any sectors
		for at := o.offset - o.offset%sector; at < end; at += sector {
			if from, to := max(at, o.offset), min(at+sector, end); r.IntN(2) == 0 {
				copy(n.data[from:to], old[from:to])
			}
		}
	}
}

// Write makes the state in a folder.
func (s *State) Write(dir string) error { return s.folder(rootID, dir) }

func (s *State) folder(id uint64, dir string) error {
	var errs []error
	n := s.inodes[id]
	for _, called := range n.sorted() {
		path, child := filepath.Join(dir, called), s.inodes[n.entries[called]]
		perm := os.FileMode(child.mode & 0o777)
		switch {
		case child.is(syscall.S_IFDIR):
			errs = append(errs, os.Mkdir(path, 0o755), s.folder(n.entries[called], path), os.Chmod(path, perm))
		case child.is(syscall.S_IFLNK):
			errs = append(errs, os.Symlink(child.target, path))
		default:
			errs = append(errs, os.WriteFile(path, child.data, 0o600), os.Chmod(path, perm))
		}
	}
	return errors.Join(errs...)
}

// String lists what there is, with the beginning of each file.
func (s *State) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cut after %d requests, %d changes kept, %d lost; promised: %q\n", s.Cut, s.Kept, s.Lost, s.Marks)
	var list func(id uint64, at string)
	list = func(id uint64, at string) {
		n := s.inodes[id]
		for _, called := range n.sorted() {
			child := s.inodes[n.entries[called]]
			path := at + "/" + called
			if child.is(syscall.S_IFDIR) {
				fmt.Fprintf(&b, "  %s/\n", path)
				list(n.entries[called], path)
				continue
			}
			fmt.Fprintf(&b, "  %s: %d bytes %.60q\n", path, len(child.data), child.data)
		}
	}
	list(rootID, "")
	return b.String()
}

// shown is how many lines a history has, at most.
const shown = 40

// History lists the last of the first n things that were asked for, a line each.
func (f *FS) History(n int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for i, o := range f.log[:min(n, len(f.log))] {
		if i < n-shown {
			continue
		}
		fmt.Fprintf(&b, "%4d  ", i+1)
		switch o.kind {
		case opMark:
			fmt.Fprintf(&b, "promised: %s", o.text)
		case opSync:
			fmt.Fprintf(&b, "sync %d", o.inode)
		case opWrite:
			fmt.Fprintf(&b, "write %d: %d bytes at %d", o.inode, len(o.data), o.offset)
		case opTruncate:
			fmt.Fprintf(&b, "truncate %d to %d", o.inode, o.size)
		case opNames:
			for _, n := range o.names {
				fmt.Fprintf(&b, "%d/%s is %d  ", n.folder, n.name, n.inode)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
