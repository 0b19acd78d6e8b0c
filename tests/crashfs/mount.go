package crashfs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount mounts the file system at a folder, until unmount is called. It needs
// root and /dev/fuse.
func (f *FS) Mount(dir string) (unmount func() error, err error) {
	none := time.Duration(0)
	server, err := fs.Mount(dir, &node{fs: f, id: rootID}, &fs.Options{
		EntryTimeout: &none, AttrTimeout: &none, NegativeTimeout: &none, NullPermissions: true,
		RootStableAttr: &fs.StableAttr{Ino: rootID},
		MountOptions:   fuse.MountOptions{FsName: "crashfs", Name: "crashfs", DirectMount: true, DisableXAttrs: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mounting a recording file system at %s: %w", dir, err)
	}
	return server.Unmount, nil
}

// node is an inode as the kernel knows it.
type node struct {
	fs.Inode
	fs *FS
	id uint64
}

// What the kernel may ask for.
var _ interface {
	fs.NodeLookuper
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeReaddirer
	fs.NodeMkdirer
	fs.NodeCreater
	fs.NodeSymlinker
	fs.NodeReadlinker
	fs.NodeLinker
	fs.NodeUnlinker
	fs.NodeRmdirer
	fs.NodeRenamer
	fs.NodeOpener
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
	fs.NodeAllocater
	fs.NodeStatfser
} = (*node)(nil)

func (n *node) inode() *inode { return n.fs.inodes[n.id] }

// child is the kernel's view of an inode. It is called with mu held.
func (n *node) child(ctx context.Context, id uint64, out *fuse.EntryOut) *fs.Inode {
	attributes(n.fs.inodes[id], id, &out.Attr)
	return n.NewInode(ctx, &node{fs: n.fs, id: id}, fs.StableAttr{Mode: n.fs.inodes[id].mode & syscall.S_IFMT, Ino: id})
}

func attributes(i *inode, id uint64, out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink = id, i.mode, max(1, i.links)
	out.Uid, out.Gid = i.uid, i.gid
	out.Size = uint64(max(len(i.data), len(i.target)))
	out.Blksize, out.Blocks = 4096, (out.Size+511)/512
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	id, ok := n.inode().entries[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, id, out), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	attributes(n.inode(), n.id, &out.Attr)
	return 0
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	i := n.inode()
	if mode, ok := in.GetMode(); ok {
		i.mode = i.mode&syscall.S_IFMT | mode&0o7777
	}
	if uid, ok := in.GetUID(); ok {
		i.uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		i.gid = gid
	}
	if size, ok := in.GetSize(); ok {
		n.fs.truncate(n.id, int64(size))
	}
	attributes(i, n.id, &out.Attr)
	return 0
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	var list []fuse.DirEntry
	for _, called := range n.inode().sorted() {
		id := n.inode().entries[called]
		list = append(list, fuse.DirEntry{Name: called, Ino: id, Mode: n.fs.inodes[id].mode})
	}
	return fs.NewListDirStream(list), 0
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, &inode{mode: syscall.S_IFDIR | mode&0o7777, entries: map[string]uint64{}, links: 1}, out)
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, &inode{mode: syscall.S_IFLNK | 0o777, target: target}, out)
}

func (n *node) Create(ctx context.Context, name string, _ uint32, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, errno := n.make(ctx, name, &inode{mode: syscall.S_IFREG | mode&0o7777}, out)
	return child, nil, 0, errno
}

func (n *node) make(ctx context.Context, name string, i *inode, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	id, errno := n.fs.add(n.id, name, i)
	if errno != 0 {
		return nil, errno
	}
	return n.child(ctx, id, out), 0
}

func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	return []byte(n.inode().target), 0
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, called string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	to, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if _, there := n.inode().entries[called]; there {
		return nil, syscall.EEXIST
	}
	n.fs.rename(name{n.id, called, to.id})
	return n.child(ctx, to.id, out), 0
}

func (n *node) Unlink(_ context.Context, called string) syscall.Errno { return n.remove(called) }
func (n *node) Rmdir(_ context.Context, called string) syscall.Errno  { return n.remove(called) }

func (n *node) remove(called string) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	id, ok := n.inode().entries[called]
	switch {
	case !ok:
		return syscall.ENOENT
	case len(n.fs.inodes[id].entries) > 0:
		return syscall.ENOTEMPTY
	}
	n.fs.rename(name{n.id, called, 0})
	return 0
}

// The flags of renameat2(2).
const (
	renameNoReplace = 1
	renameExchange  = 2
)

func (n *node) Rename(_ context.Context, called string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	folder, ok := to.(*node)
	if !ok {
		return syscall.EXDEV
	}
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	id, ok := n.inode().entries[called]
	if !ok {
		return syscall.ENOENT
	}
	old, there := folder.inode().entries[newName]
	switch {
	case there && flags&renameNoReplace != 0:
		return syscall.EEXIST
	case there && len(n.fs.inodes[old].entries) > 0 && flags&renameExchange == 0:
		return syscall.ENOTEMPTY
	case old == id: // two names of one file: nothing happens (rename(2))
		return 0
	case flags&renameExchange != 0:
		n.fs.rename(name{n.id, called, old}, name{folder.id, newName, id})
		return 0
	}
	n.fs.rename(name{folder.id, newName, id}, name{n.id, called, 0})
	return 0
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		n.fs.mu.Lock()
		defer n.fs.mu.Unlock()
		n.fs.truncate(n.id, 0)
	}
	return nil, 0, 0
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	data := n.inode().data
	if offset >= int64(len(data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, data[offset:])]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, offset int64) (uint32, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	n.fs.write(n.id, data, offset)
	return uint32(len(data)), 0
}

// Fsync is that of files and folders. An fdatasync does the same: what it may
// leave out, times and owners, is never lost here.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	n.fs.sync(n.id)
	return 0
}

// fallocKeepSize is a flag of fallocate(2).
const fallocKeepSize = 1

func (n *node) Allocate(_ context.Context, _ fs.FileHandle, offset, size uint64, mode uint32) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	switch end := int64(offset + size); {
	case mode == fallocKeepSize:
	case mode != 0:
		return syscall.EOPNOTSUPP
	case end > int64(len(n.inode().data)):
		n.fs.truncate(n.id, end)
	}
	return 0
}

// Statfs has room, as a disk of 64 GiB.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	out.Blocks, out.Bfree, out.Bavail = 16<<20, 16<<20, 16<<20
	out.Files, out.Ffree = 1<<20, 1<<20
	return 0
}
