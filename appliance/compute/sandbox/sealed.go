package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Sealed is a file in memory whose bytes nobody can change any more, neither
// this process nor one that it is handed to (memfd_create(2), F_ADD_SEALS).
type Sealed struct {
	file *os.File
	size int64
}

const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// MemoryFile returns an empty file in memory.
func MemoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Seal returns a sealed file of all that is read.
func Seal(name string, from io.Reader) (*Sealed, error) {
	f, err := MemoryFile(name)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, from); err != nil {
		f.Close()
		return nil, fmt.Errorf("filling a file in memory: %w", err)
	}
	return SealFile(f)
}

// SealFile seals a file in memory that may have come from a worker, if it is
// not sealed yet. It fails where the worker could still change it, by a
// writable mapping; after that nobody can. It owns the file
// from then on.
func SealFile(f *os.File) (*Sealed, error) {
	s, err := Received(f)
	if err != nil {
		if _, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err == nil {
			s, err = Received(f)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("sealing a file in memory: %w", err)
	}
	return s, nil
}

// Received checks that a file from another process is sealed, and then owns it.
func Received(f *os.File) (*Sealed, error) {
	got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, errors.Join(errors.New("the file is not sealed"), err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &Sealed{f, info.Size()}, nil
}

// File is the file, to be sent to a worker. It is closed with Close.
func (s *Sealed) File() *os.File { return s.file }

// Size is in bytes.
func (s *Sealed) Size() int64 { return s.size }

// mapped returns the bytes, nil for an empty file. A shared mapping does not
// count as data of this process (RLIMIT_DATA).
func (s *Sealed) mapped() ([]byte, error) {
	if s.size == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(int(s.file.Fd()), 0, int(s.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping a file in memory: %w", err)
	}
	return b, nil
}

// Map calls use with the bytes, which may not be used after it returns.
func (s *Sealed) Map(use func([]byte) error) error {
	b, err := s.mapped()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(b) }() // fails only where there are none
	return use(b)
}

// MapForever returns the bytes, mapped until this process ends, and closes the
// file.
func (s *Sealed) MapForever() ([]byte, error) {
	defer s.Close()
	return s.mapped()
}

// Close closes the file. Processes that were handed it keep it.
func (s *Sealed) Close() error { return s.file.Close() }
