// Package hostfs gives a module access to files of its host: open files, folders
// that no path leads out of, and waiting until a file is ready. Its flags and
// errors are the kernel's; package wasm translates them to WASI.
package hostfs

import (
	"io/fs"
	"math"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Folder is a directory out of which no path leads: the kernel resolves every
// path beneath it (openat2 with RESOLVE_BENEATH, Linux 5.6), symbolic links on
// the way and at the end included, so neither "..", an absolute link nor a
// rename at the wrong moment reaches what was not given. Paths are relative,
// with slashes. Errors are syscall.Errno; leaving the folder is EPERM, as WASI
// has it, and any change in a read-only folder EROFS.
type Folder struct {
	dir      File
	readOnly bool
}

// NewFolder makes a folder of an open directory, which stays its owner's.
func NewFolder(dir File, readOnly bool) *Folder { return &Folder{dir, readOnly} }

const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS

// Open opens a path with flags of open(2).
func (f *Folder) Open(name string, flags int, perm fs.FileMode) (File, error) {
	const changes = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	if f.readOnly && flags&changes != 0 {
		return File{}, unix.EROFS
	}
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC | unix.O_NOCTTY, Resolve: beneath}
	if flags&unix.O_PATH != 0 {
		how.Flags &^= unix.O_NOCTTY // which openat2 refuses beside O_PATH
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(perm.Perm())
	}
	for {
		fd, err := unix.Openat2(f.dir.fd, name, &how)
		switch err {
		case nil:
			return File{fd}, nil
		case unix.EXDEV:
			return File{}, unix.EPERM
		case unix.EINTR, unix.EAGAIN: // a rename crossed the resolution
		default:
			return File{}, err
		}
	}
}

// handle opens what name leads to, or, with follow false, a symbolic link
// itself, for what needs no right to read it.
func (f *Folder) handle(name string, follow bool) (File, error) {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	return f.Open(name, flags, 0)
}

// Stat describes what name leads to, or, with follow false, a symbolic link itself.
func (f *Folder) Stat(name string, follow bool) (Stat, error) {
	file, err := f.handle(name, follow)
	if err != nil {
		return Stat{}, err
	}
	defer file.Close()
	return file.Stat()
}

// in opens the directory that holds name and calls do with it and the last
// element of name, which keeps its trailing slash. That element is never "..":
// do may hand it to the kernel as it is, if the kernel follows no link there.
func (f *Folder) in(name string, do func(dir int, base string) error) error {
	switch {
	case f.readOnly:
		return unix.EROFS
	case name == "":
		return unix.ENOENT
	case path.IsAbs(name):
		return unix.EPERM
	}
	bare := strings.TrimRight(name, "/")
	parent, base := path.Split(bare)
	if base == ".." {
		parent, base = bare, "."
	}
	if parent == "" {
		parent = "."
	}
	dir, err := f.Open(parent, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(dir.fd, base+name[len(bare):])
}

// Mkdir makes a directory.
func (f *Folder) Mkdir(name string, perm fs.FileMode) error {
	return f.in(name, func(dir int, base string) error { return unix.Mkdirat(dir, base, uint32(perm.Perm())) })
}

// Rmdir removes an empty directory.
func (f *Folder) Rmdir(name string) error {
	return f.in(name, func(dir int, base string) error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
}

// Unlink removes a file or a link.
func (f *Folder) Unlink(name string) error {
	return f.in(name, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) })
}

// Rename moves a file or a directory, to another folder if it must be.
func (f *Folder) Rename(from string, to *Folder, name string) error {
	return f.in(from, func(fromDir int, fromBase string) error {
		return to.in(name, func(toDir int, toBase string) error { return unix.Renameat(fromDir, fromBase, toDir, toBase) })
	})
}

// Link gives a file a second name; a symbolic link is not followed.
func (f *Folder) Link(from string, to *Folder, name string) error {
	if strings.HasSuffix(from, "/") {
		// Such a name is of a directory, which has one name. linkat(2) would
		// follow a link there, out of the folder.
		dir, err := f.Open(from, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		dir.Close()
		return unix.EPERM
	}
	return f.in(from, func(fromDir int, fromBase string) error {
		return to.in(name, func(toDir int, toBase string) error {
			return unix.Linkat(fromDir, fromBase, toDir, toBase, 0)
		})
	})
}

// Symlink makes a link. It may point anywhere, as it is followed inside the folder only.
// An absolute target could never be followed and is EPERM, as WASI has it.
func (f *Folder) Symlink(target, name string) error {
	if path.IsAbs(target) {
		return unix.EPERM
	}
	return f.in(name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// Readlink returns the target of a symbolic link.
func (f *Folder) Readlink(name string) (string, error) {
	link, err := f.handle(name, false)
	if err != nil {
		return "", err
	}
	defer link.Close()
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link.fd, "", buffer)
	if err == unix.ENOENT { // what readlinkat(2) says of a descriptor that is no link
		err = unix.EINVAL
	}
	return string(buffer[:max(n, 0)]), err
}

// Values of a time that are no time: do not change it, and the current time.
const (
	Omit = math.MinInt64
	Now  = math.MinInt64 + 1
)

// Times sets the times of what name leads to, or of a symbolic link itself, in
// nanoseconds since 1970.
func (f *Folder) Times(name string, follow bool, access, modified int64) error {
	if f.readOnly {
		return unix.EROFS
	}
	file, err := f.handle(name, follow)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Times(access, modified)
}
