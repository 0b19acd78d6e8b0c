package hostfs

import (
	"bytes"
	"encoding/binary"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// File is an open file of a module, which Go's runtime does not watch: calls
// block as the kernel has it. Errors are syscall.Errno. It must be closed.
type File struct{ fd int }

// FileOf returns the open file of f, which f still owns and closes. Unlike f.Fd()
// it does not make calls on the file block, which would concern every process
// that has it.
func FileOf(f *os.File) File {
	file := File{-1} // which every call refuses
	if conn, err := f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { file.fd = int(fd) })
	}
	return file
}

// Stat is what fstat(2) returns.
type Stat = syscall.Stat_t

// again repeats a call that a signal has interrupted.
func again[T any](call func() (T, error)) (T, error) {
	for {
		if got, err := call(); err != unix.EINTR {
			return got, err
		}
	}
}

// retry is again for calls that give nothing but an error.
func retry(call func() error) error {
	_, err := again(func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Close closes the file.
func (f File) Close() error { return unix.Close(f.fd) }

// vectors is how many pieces the kernel reads or writes in one call (UIO_MAXIOV).
const vectors = 1024

// Read reads into one piece after the other, as far as there is.
func (f File) Read(to [][]byte) (int, error) {
	if len(to) == 1 {
		return again(func() (int, error) { return unix.Read(f.fd, to[0]) })
	}
	return again(func() (int, error) { return unix.Readv(f.fd, to[:min(len(to), vectors)]) })
}

// Write writes one piece after the other, as far as there is room.
func (f File) Write(from [][]byte) (int, error) {
	if len(from) == 1 {
		return again(func() (int, error) { return unix.Write(f.fd, from[0]) })
	}
	return again(func() (int, error) { return unix.Writev(f.fd, from[:min(len(from), vectors)]) })
}

// Pread reads at an offset. At the end of the file it reads nothing.
func (f File) Pread(to []byte, offset int64) (int, error) {
	return again(func() (int, error) { return unix.Pread(f.fd, to, offset) })
}

// Pwrite writes at an offset; to a file that is appended to, at its end.
func (f File) Pwrite(from []byte, offset int64) (int, error) {
	return again(func() (int, error) { return unix.Pwrite(f.fd, from, offset) })
}

// Seek is lseek(2).
func (f File) Seek(offset int64, whence int) (int64, error) { return unix.Seek(f.fd, offset, whence) }

// Stat describes the file.
func (f File) Stat() (s Stat, err error) {
	err = retry(func() error { return syscall.Fstat(f.fd, &s) })
	return s, err
}

// Truncate gives the file another size.
func (f File) Truncate(size int64) error {
	return retry(func() error { return unix.Ftruncate(f.fd, size) })
}

// Allocate makes sure that there is room for a part of the file, which it
// lengthens. On a file system that cannot reserve room it only lengthens the file.
func (f File) Allocate(offset, size int64) error {
	err := retry(func() error { return unix.Fallocate(f.fd, 0, offset, size) })
	if err != unix.EOPNOTSUPP {
		return err
	}
	s, err := f.Stat()
	if err != nil || s.Size >= offset+size {
		return err
	}
	return f.Truncate(offset + size)
}

// Sync waits until the file is on disk; with data true, what is needed to read it.
func (f File) Sync(data bool) error {
	if data {
		return retry(func() error { return unix.Fdatasync(f.fd) })
	}
	return retry(func() error { return unix.Fsync(f.fd) })
}

// Times sets the file's times, in nanoseconds since 1970, or Omit or Now.
func (f File) Times(access, modified int64) error {
	at := func(t int64) unix.Timespec {
		switch t {
		case Omit:
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		case Now:
			return unix.Timespec{Nsec: unix.UTIME_NOW}
		}
		return unix.NsecToTimespec(t)
	}
	return unix.UtimesNanoAt(f.fd, "", []unix.Timespec{at(access), at(modified)}, unix.AT_EMPTY_PATH)
}

// SetFlags has the file appended to, or not, and its calls return EAGAIN in the
// place of blocking, or not.
func (f File) SetFlags(appended, nonblock bool) error {
	now, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	now &^= unix.O_APPEND | unix.O_NONBLOCK
	if appended {
		now |= unix.O_APPEND
	}
	if nonblock {
		now |= unix.O_NONBLOCK
	}
	_, err = unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, now)
	return err
}

// IsTerminal reports whether the file is a terminal.
func (f File) IsTerminal() bool {
	_, err := unix.IoctlGetTermios(f.fd, unix.TCGETS)
	return err == nil
}

// Entry is an entry of a directory.
type Entry struct {
	Inode uint64
	Next  int64 // where the directory is read on after it
	Type  byte  // DT_…, DT_UNKNOWN where the file system does not say
	Name  string
}

// Entries reads on in a directory, as many as fit into the buffer in the
// kernel's form (linux_dirent64, getdents64(2)); none at its end.
func (f File) Entries(buffer []byte) ([]Entry, error) {
	n, err := again(func() (int, error) { return unix.Getdents(f.fd, buffer) })
	if err != nil {
		return nil, err
	}
	const inode, next, length, kind, name = 0, 8, 16, 18, 19
	var entries []Entry
	for b := buffer[:n]; len(b) >= name; {
		size := min(int(binary.NativeEndian.Uint16(b[length:])), len(b))
		text, _, _ := bytes.Cut(b[name:size], []byte{0})
		entries = append(entries, Entry{
			Inode: binary.NativeEndian.Uint64(b[inode:]), Next: int64(binary.NativeEndian.Uint64(b[next:])),
			Type: b[kind], Name: string(text),
		})
		b = b[size:]
	}
	return entries, nil
}
