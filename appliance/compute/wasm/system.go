package wasm

import (
	"context"
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero/sys"

	"phase/appliance/compute/hostfs"
)

// system is what one run of a module can reach: arguments, clocks, open files.
type system struct {
	args, env []string
	begin     time.Time
	table     []*descriptor // by number; nil where none is open
}

type systemKey struct{}

func (s *system) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, systemKey{}, s)
}

func systemOf(ctx context.Context) *system { return ctx.Value(systemKey{}).(*system) }

// descriptor is an open file of the module.
type descriptor struct {
	hostfs.File
	given            bool // a stream or a folder of the configuration, which outlives the run
	kind             byte // a file type
	base, inheriting rights
	flags            uint16
	readOnly         bool           // of a read-only folder
	folder           *hostfs.Folder // of a directory
	preopen          string         // the module's name of a folder of the configuration, or ""
	list             *listing       // once a directory has been read
}

// File types of WASI.
const (
	block     = 1
	character = 2
	directory = 3
	regular   = 4
	socket    = 6
	symbolic  = 7
)

// fileTypes are those of WASI by the kernel's, which stand in a file's mode.
// Others, pipes among them, are unknown.
var fileTypes = map[uint32]byte{
	syscall.S_IFBLK: block, syscall.S_IFCHR: character, syscall.S_IFDIR: directory,
	syscall.S_IFREG: regular, syscall.S_IFSOCK: socket, syscall.S_IFLNK: symbolic,
}

func fileType(mode uint32) byte { return fileTypes[mode&syscall.S_IFMT] }

// newSystem makes the system of a run: standard streams, and from 3 on folders.
func newSystem(c Config) (*system, error) {
	s := &system{args: c.Args, begin: time.Now()}
	for _, v := range c.Env {
		name, _, _ := strings.Cut(v, "=")
		s.env = put(s.env, v, func(other string) bool { return strings.HasPrefix(other, name+"=") })
	}
	for i, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		d := &descriptor{File: hostfs.FileOf(f), given: true}
		may := mayWrite
		if i == 0 {
			may = mayRead
		}
		// A module may not set the times of a file that is not its own.
		if err := d.identify(may, (ofFile|ofDirectory)&^maySetTimes); err != nil {
			return nil, err
		}
		s.table = append(s.table, d)
	}
	for _, f := range c.Folders {
		d := &descriptor{File: hostfs.FileOf(f.Dir), given: true, preopen: f.Guest, readOnly: f.ReadOnly}
		if err := d.identify(0, ofFile|ofDirectory); err != nil {
			return nil, err
		}
		d.folder = hostfs.NewFolder(d.File, f.ReadOnly)
		s.table = put(s.table, d, func(other *descriptor) bool { return other.preopen == f.Guest })
	}
	return s, nil
}

// put adds to a list, in the place of what has the same name: the last counts.
func put[T any](list []T, v T, same func(T) bool) []T {
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i] = v
		return list
	}
	return append(list, v)
}

// identify finds out what kind of file it is, and gives it the rights that such a
// file can have: no more than passed, and of reading and writing no more than may.
func (d *descriptor) identify(may, passed rights) error {
	stat, err := d.Stat()
	if err != nil {
		return err
	}
	d.kind = fileType(stat.Mode)
	switch d.kind {
	case directory:
		d.base, d.inheriting = ofDirectory&passed, passed
	case character:
		// The C library takes a file for a terminal where seeking is not allowed.
		d.base = ofFile&passed&^(mayRead|mayWrite) | may
		if d.IsTerminal() {
			d.base &^= maySeek | mayTell
		}
	default:
		d.base = ofFile&passed&^(mayRead|mayWrite) | may&passed
	}
	return nil
}

// closeAll closes what the module has left open.
func (s *system) closeAll() {
	for fd := range s.table {
		s.close(uint32(fd))
	}
}

// find returns an open file that has these rights.
func (s *system) find(fd uint32, need rights) (*descriptor, errno) {
	if uint64(fd) >= uint64(len(s.table)) || s.table[fd] == nil {
		return nil, badf
	}
	d := s.table[fd]
	if d.base&need != need {
		return nil, notcapable
	}
	return d, success
}

// add gives a file the lowest free number.
func (s *system) add(d *descriptor) uint32 {
	fd := slices.Index(s.table, nil)
	if fd < 0 {
		fd, s.table = len(s.table), append(s.table, nil)
	}
	s.table[fd] = d
	return uint32(fd)
}

func (s *system) close(fd uint32) errno {
	d, no := s.find(fd, 0)
	if no != success {
		return no
	}
	s.table[fd] = nil
	if d.list != nil {
		d.list.Close()
	}
	if d.given {
		return success
	}
	return errnoOf(d.Close())
}

// exit ends the module. Nothing of it runs any more.
func exit(c call) errno {
	_ = c.CloseWithExitCode(context.Background(), c.arg(0))
	panic(sys.NewExitError(c.arg(0)))
}

func random(c call) errno {
	b, ok := c.Memory().Read(c.arg(0), c.arg(1))
	if !ok {
		return fault
	}
	rand.Read(b) // which does not fail
	return success
}

// Clocks.
const (
	realtime  = 0
	monotonic = 1
)

// tick is the resolution of a module's clocks: fine enough for programs, too
// coarse to learn from a processor's caches what other programs do.
const tick = time.Millisecond

// now is what a clock shows, in nanoseconds.
func (s *system) now(clock uint32) (int64, errno) {
	switch clock {
	case realtime:
		return time.Now().Truncate(tick).UnixNano(), success
	case monotonic:
		// Never zero, which Go's runtime takes for a clock that does not work.
		return int64(time.Since(s.begin).Truncate(tick) + tick), success
	}
	return 0, inval
}

func clockTime(c call) errno {
	now, no := c.now(c.arg(0))
	if no != success {
		return no
	}
	return c.put64(2, uint64(now))
}

func clockRes(c call) errno {
	if _, no := c.now(c.arg(0)); no != success {
		return no
	}
	return c.put64(1, uint64(tick))
}

// noSocket refuses, as no descriptor is a socket that a module has opened.
func noSocket(call, *descriptor) errno { return notsock }
