// Package crashfs is a file system that remembers in which order it was changed
// and synced, and makes of that every state in which a power cut could have left
// it. The code under test uses it like any other: it is mounted (FUSE) and knows
// nothing of it.
//
// What a power cut may leave is what POSIX permits, which is more than a given
// file system does: without an fsync of a file its contents may be missing, torn
// or zeros of the right length; without an fsync of a folder the names in it may
// be the old ones or the new ones, each by itself, whatever was synced of the
// files. A rename is atomic. Modes and owners are never lost.
package crashfs

import (
	"maps"
	"slices"
	"sync"
	"syscall"
)

// rootID is the number of the top folder.
const rootID = 1

// inode is a file, a folder or a symbolic link.
type inode struct {
	mode     uint32 // with its type
	uid, gid uint32
	data     []byte            // of a file
	entries  map[string]uint64 // of a folder
	target   string            // of a link
	links    uint32
}

func (i *inode) is(kind uint32) bool { return i.mode&syscall.S_IFMT == kind }

// kind is what an op does.
type kind int

const (
	opNames    kind = iota // names are given or taken, all of them or none
	opWrite                // data at an offset of inode
	opTruncate             // inode has size bytes
	opSync                 // inode is on the disk; everything is, when it is 0
	opMark                 // the code under test has promised text
)

// op is one thing that was asked of the file system.
type op struct {
	kind   kind
	inode  uint64
	names  []name
	offset int64
	data   []byte
	size   int64
	text   string
}

// name is what a folder calls an inode; inode 0 is nothing any more.
type name struct {
	folder uint64
	name   string
	inode  uint64
}

// Forget is what the file system says it has done and has not: code that would
// pass with either does not sync, or is not tested.
type Forget struct {
	Files   bool // fsync of a file
	Folders bool // fsync of a folder
}

// FS is the file system.
type FS struct {
	forget Forget

	mu     sync.Mutex
	inodes map[uint64]*inode // none is ever removed: a crash may bring it back
	log    []op
}

// New returns an empty file system.
func New(forget Forget) *FS {
	root := &inode{mode: syscall.S_IFDIR | 0o755, entries: map[string]uint64{}, links: 2}
	return &FS{forget: forget, inodes: map[uint64]*inode{rootID: root}}
}

// Mark notes that the code under test has promised something, as by returning
// from a function that says it is durable: a later crash must not take it back.
func (f *FS) Mark(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, op{kind: opMark, text: text})
}

// SyncAll makes durable all there is, as sync(2): what comes before is no matter
// of the test.
func (f *FS) SyncAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, op{kind: opSync})
}

// Len is the number of things that were asked for so far.
func (f *FS) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.log)
}

// The rest is what the mount calls, with mu held.

// add makes an inode with a name.
func (f *FS) add(folder uint64, called string, n *inode) (uint64, syscall.Errno) {
	if _, there := f.inodes[folder].entries[called]; there {
		return 0, syscall.EEXIST
	}
	id := uint64(len(f.inodes) + 1)
	f.inodes[id] = n
	f.rename(name{folder, called, id})
	return id, 0
}

// rename gives and takes names, all at once.
func (f *FS) rename(names ...name) {
	f.log = append(f.log, op{kind: opNames, names: names})
	apply(f.inodes, names)
}

func apply(inodes map[uint64]*inode, names []name) {
	for _, n := range names {
		entries := inodes[n.folder].entries
		if old, ok := inodes[entries[n.name]]; ok && old.links > 0 {
			old.links--
		}
		if n.inode == 0 {
			delete(entries, n.name)
		} else {
			entries[n.name] = n.inode
			inodes[n.inode].links++
		}
	}
}

func (f *FS) write(id uint64, data []byte, offset int64) {
	o := op{kind: opWrite, inode: id, data: slices.Clone(data), offset: offset}
	f.log = append(f.log, o)
	n := f.inodes[id]
	n.data = o.change(n.data)
}

func (f *FS) truncate(id uint64, size int64) {
	o := op{kind: opTruncate, inode: id, size: size}
	f.log = append(f.log, o)
	n := f.inodes[id]
	n.data = o.change(n.data)
}

func (f *FS) sync(id uint64) {
	folder := f.inodes[id].is(syscall.S_IFDIR)
	if folder && f.forget.Folders || !folder && f.forget.Files {
		return
	}
	f.log = append(f.log, op{kind: opSync, inode: id})
}

// change does to the contents of a file what a write or a truncate does.
func (o op) change(data []byte) []byte {
	if o.kind == opTruncate {
		return resized(data, o.size)
	}
	data = resized(data, max(int64(len(data)), o.offset+int64(len(o.data))))
	copy(data[o.offset:], o.data)
	return data
}

// resized has a length, with zeros where there was nothing.
func resized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size:size]
	}
	return append(data, make([]byte, size-int64(len(data)))...)
}

// sorted are the names in a folder.
func (n *inode) sorted() []string { return slices.Sorted(maps.Keys(n.entries)) }
