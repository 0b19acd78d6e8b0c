package wasm

import (
	"io/fs"
	"os"
	"strings"
	"syscall"

	experimental "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/sys"

	"phase/appliance/sandbox"
)

// folder gives a module a sandbox.Folder. wazero's own directory mounts follow
// links and ".." out of the directory, as their documentation says.
type folder struct {
	experimental.UnimplementedFS
	*sandbox.Folder
}

// inside turns a path of wazero's, which begins with a slash when a module names
// it from a directory it has opened as ".", into one of the folder. The paths
// that a module itself begins with a slash wazero has refused before.
func inside(name string) string { return strings.TrimLeft(name, "/") }

// openFlags pairs wazero's flags with the kernel's. Reading is zero in both.
var openFlags = []struct {
	wazero experimental.Oflag
	kernel int
}{
	{experimental.O_WRONLY, syscall.O_WRONLY},
	{experimental.O_RDWR, syscall.O_RDWR},
	{experimental.O_APPEND, syscall.O_APPEND},
	{experimental.O_CREAT, syscall.O_CREAT},
	{experimental.O_EXCL, syscall.O_EXCL},
	{experimental.O_TRUNC, syscall.O_TRUNC},
	{experimental.O_DIRECTORY, syscall.O_DIRECTORY},
	{experimental.O_NOFOLLOW, syscall.O_NOFOLLOW},
	{experimental.O_NONBLOCK, syscall.O_NONBLOCK},
	{experimental.O_SYNC, syscall.O_SYNC},
	{experimental.O_DSYNC, syscall.O_DSYNC},
	{experimental.O_RSYNC, syscall.O_RSYNC},
}

// OpenFile opens twice: once beneath the folder, and once more, by the
// descriptor's name in /proc, through wazero, whose file this becomes. The
// first stays open, so that wazero can open the file again when it must.
func (f folder) OpenFile(name string, flag experimental.Oflag, perm fs.FileMode) (experimental.File, experimental.Errno) {
	flags := 0
	for _, pair := range openFlags {
		if flag&pair.wazero != 0 {
			flags |= pair.kernel
		}
	}
	anchor, err := f.Open(inside(name), flags, perm)
	if err != nil {
		return nil, errno(err)
	}
	const once = experimental.O_CREAT | experimental.O_EXCL | experimental.O_TRUNC | experimental.O_NOFOLLOW
	opened, no := sysfs.DirFS("/").OpenFile(sandbox.Path(anchor)[1:], flag&^once, 0)
	if no != 0 {
		anchor.Close()
		return nil, no
	}
	return &file{opened, anchor, f.ReadOnly()}, 0
}

// file is an open file of a folder. Writing to a read-only one is refused by
// the kernel, as it is open for reading only; changing its times is not.
type file struct {
	experimental.File
	anchor   *os.File
	readOnly bool
}

func (f *file) Close() experimental.Errno {
	no := f.File.Close()
	f.anchor.Close()
	return no
}

// Pwrite of a file that is only appended to writes at its end, as Linux does;
// Go refuses.
func (f *file) Pwrite(b []byte, offset int64) (int, experimental.Errno) {
	if !f.IsAppend() {
		return f.File.Pwrite(b, offset)
	}
	n, err := syscall.Pwrite(int(f.anchor.Fd()), b, offset)
	return max(n, 0), errno(err)
}

func (f *file) Utimens(access, modified int64) experimental.Errno {
	if f.readOnly {
		return experimental.EROFS
	}
	return f.File.Utimens(access, modified)
}

func (f folder) Stat(name string) (sys.Stat_t, experimental.Errno)  { return f.stat(name, true) }
func (f folder) Lstat(name string) (sys.Stat_t, experimental.Errno) { return f.stat(name, false) }

func (f folder) stat(name string, follow bool) (sys.Stat_t, experimental.Errno) {
	info, err := f.Folder.Stat(inside(name), follow)
	if err != nil {
		return sys.Stat_t{}, errno(err)
	}
	return sys.NewStat_t(info), 0
}

func (f folder) Mkdir(name string, perm fs.FileMode) experimental.Errno {
	return errno(f.Folder.Mkdir(inside(name), perm))
}

func (f folder) Rmdir(name string) experimental.Errno  { return errno(f.Folder.Rmdir(inside(name))) }
func (f folder) Unlink(name string) experimental.Errno { return errno(f.Folder.Unlink(inside(name))) }

func (f folder) Rename(from, to string) experimental.Errno {
	return errno(f.Folder.Rename(inside(from), inside(to)))
}
func (f folder) Link(from, to string) experimental.Errno {
	return errno(f.Folder.Link(inside(from), inside(to)))
}

func (f folder) Symlink(target, name string) experimental.Errno {
	return errno(f.Folder.Symlink(target, inside(name)))
}

func (f folder) Readlink(name string) (string, experimental.Errno) {
	target, err := f.Folder.Readlink(inside(name))
	return target, errno(err)
}

func (f folder) Utimens(name string, access, modified int64) experimental.Errno {
	omit := func(t int64) int64 {
		if t == experimental.UTIME_OMIT {
			return sandbox.Omit
		}
		return t
	}
	return errno(f.Times(inside(name), omit(access), omit(modified)))
}

func errno(err error) experimental.Errno { return experimental.UnwrapOSError(err) }
