package sandbox

import (
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
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
	dir      *os.File
	readOnly bool
}

// NewFolder takes over dir, an open directory.
func NewFolder(dir *os.File, readOnly bool) *Folder { return &Folder{dir, readOnly} }

// ReadOnly reports whether the folder refuses changes.
func (f *Folder) ReadOnly() bool { return f.readOnly }

const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS

// Open opens a path with flags of open(2) and returns the file. The file keeps
// its meaning under /proc/self/fd for as long as it is open: see Path.
func (f *Folder) Open(name string, flags int, perm fs.FileMode) (*os.File, error) {
	const changes = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	if f.readOnly && flags&changes != 0 {
		return nil, unix.EROFS
	}
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: beneath}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(perm.Perm())
	}
	if name == "" || name == "/" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(int(f.dir.Fd()), name, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EXDEV:
			return nil, unix.EPERM
		case unix.EINTR, unix.EAGAIN: // a rename crossed the resolution
		default:
			return nil, err
		}
	}
}

// Path is a name of an open file that opens the same file again, whatever has
// happened to the path it was opened by.
func Path(file *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(file.Fd())) }

// Stat describes what name leads to, or, with follow false, a symbolic link itself.
func (f *Folder) Stat(name string, follow bool) (fs.FileInfo, error) {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	file, err := f.Open(name, flags, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Stat()
}

// at opens the directory that holds name and calls do with it and the last
// element of name, which keeps its trailing slash.
func (f *Folder) at(name string, do func(dir int, base string) error) error {
	if f.readOnly {
		return unix.EROFS
	}
	return f.look(name, do)
}

func (f *Folder) look(name string, do func(dir int, base string) error) error {
	bare := strings.TrimRight(name, "/")
	parent, base := path.Split(bare)
	if base == ".." {
		return unix.EPERM
	}
	if base == "" {
		base = "."
	}
	dir, err := f.Open(parent, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(int(dir.Fd()), base+name[len(bare):])
}

// Mkdir makes a directory.
func (f *Folder) Mkdir(name string, perm fs.FileMode) error {
	return f.at(name, func(dir int, base string) error { return unix.Mkdirat(dir, base, uint32(perm.Perm())) })
}

// Rmdir removes an empty directory.
func (f *Folder) Rmdir(name string) error {
	return f.at(name, func(dir int, base string) error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
}

// Unlink removes a file or a link.
func (f *Folder) Unlink(name string) error {
	return f.at(name, func(dir int, base string) error { return unix.Unlinkat(dir, base, 0) })
}

// Rename moves a file or a directory inside this folder.
func (f *Folder) Rename(from, to string) error {
	return f.at(from, func(fromDir int, fromBase string) error {
		return f.at(to, func(toDir int, toBase string) error { return unix.Renameat(fromDir, fromBase, toDir, toBase) })
	})
}

// Link gives a file a second name; a symbolic link is not followed.
func (f *Folder) Link(from, to string) error {
	return f.at(from, func(fromDir int, fromBase string) error {
		return f.at(to, func(toDir int, toBase string) error {
			return unix.Linkat(fromDir, fromBase, toDir, toBase, 0)
		})
	})
}

// Symlink makes a link. It may point anywhere: following it is what is walled.
// An absolute target could never be followed and is EPERM, as WASI has it.
func (f *Folder) Symlink(target, name string) error {
	if path.IsAbs(target) {
		return unix.EPERM
	}
	return f.at(name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// Readlink returns the target of a symbolic link.
func (f *Folder) Readlink(name string) (target string, err error) {
	err = f.look(name, func(dir int, base string) error {
		buffer := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base, buffer)
		target = string(buffer[:max(n, 0)])
		return err
	})
	return target, err
}

// Omit, as a time of Times, leaves that time alone.
const Omit = math.MinInt64

// Times sets the times of what name leads to, in nanoseconds since 1970.
func (f *Folder) Times(name string, access, modified int64) error {
	if f.readOnly {
		return unix.EROFS
	}
	file, err := f.Open(name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	at := func(t int64) unix.Timespec {
		if t == Omit {
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		}
		return unix.NsecToTimespec(t)
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, Path(file), []unix.Timespec{at(access), at(modified)}, 0)
}
