package trial

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/linux"
)

// File is the journal's name in its folder.
const File = "trials.json"

// Variable is the journal's name among the firmware's variables. The GUID is
// ours alone, made at random, so that no firmware means something else by it.
const Variable = "PhaseTrials-6f2a9d1c-4be0-4a5e-9c57-d1a3e08f7b42"

// InFolder returns the journal kept in a folder, normally /perm/phase.
func InFolder(dir string, boot Boot) Journal { return Journal{folder{dir}, boot} }

// InEFI returns the journal kept among the firmware's variables, mounted at dir
// (/sys/firmware/efi/efivars).
func InEFI(dir string, boot Boot) Journal {
	return Journal{variable{filepath.Join(dir, Variable)}, boot}
}

// Up is how long this machine has been up; 0 when that is not known.
func Up() time.Duration { return linux.Up() }

// Here returns the journal of the node this program runs on: init opens it to
// write, update to read. /perm/phase is there only while the persistent
// partition is mounted, and the variables only where init has mounted them,
// which it does not where nothing may be written.
func Here() Journal {
	boot := Boot{Up: Up}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		boot.ID = strings.TrimSpace(string(id))
	}
	if info, err := os.Stat("/perm/phase"); err == nil && info.IsDir() {
		return InFolder("/perm/phase", boot)
	}
	const efi = "/sys/firmware/efi/efivars"
	if entries, err := os.ReadDir(efi); err == nil && len(entries) > 0 {
		return InEFI(efi, boot)
	}
	return Journal{memory{}, boot}
}

type folder struct{ dir string }

func (folder) name() string { return "disk" }

func (f folder) read() ([]byte, error) { return readIfThere(filepath.Join(f.dir, File)) }

// write returns once the file is on the disk: before the jump, not some seconds
// later.
func (f folder) write(data []byte) error {
	return statefile.Replace(filepath.Join(f.dir, File), data, 0o644)
}

func readIfThere(path string) ([]byte, error) {
	data, err := statefile.ReadCapped(path, maxBytes+15)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// variable is an EFI variable, as efivarfs shows it: 4 bytes of attributes and
// the value, written in one call (Documentation/filesystems/efivarfs.rst).
type variable struct{ path string }

const (
	// Kept, to be read at boot and at run time (UEFI 2.10, section 8.2).
	attributes = 1 | 2 | 4
	// FS_IMMUTABLE_FL of linux/fs.h.
	immutable = 0x10
	// The variable always has this size or a multiple, so that rewriting it
	// never needs more of the firmware's little room than it had before.
	padTo = 1024
)

func (variable) name() string { return "efi" }

func (v variable) read() ([]byte, error) {
	data, err := readIfThere(v.path)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("%s: %d bytes are too few for a variable", v.path, len(data))
	}
	return data[4:], nil
}

func (v variable) write(data []byte) error {
	// efivarfs protects variables it does not know from deletion by making
	// them immutable.
	if err := makeMutable(v.path); err != nil {
		return err
	}
	for len(data)%padTo != 0 {
		data = append(data, ' ')
	}
	file, err := os.OpenFile(v.path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(binary.LittleEndian.AppendUint32(nil, attributes), data...))
	return errors.Join(err, file.Close())
}

func makeMutable(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	flags, err := unix.IoctlGetInt(int(file.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // no efivarfs: nothing is immutable there
	}
	if err != nil {
		return fmt.Errorf("%s: reading its flags: %w", path, err)
	}
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutable); err != nil {
		return fmt.Errorf("%s: making it writable: %w", path, err)
	}
	return nil
}

// memory is the place of a machine that cannot keep a journal: nothing is
// written, and nothing was. One boot counts a jump once however often it tries,
// and of what an earlier one did nothing is left.
type memory struct{}

// Memory is where a journal is that a restart forgets, see Journal.Where.
const Memory = "memory"

func (memory) name() string          { return Memory }
func (memory) read() ([]byte, error) { return nil, nil }
func (memory) write([]byte) error    { return nil }
