package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/machine/linux"
	"phase/tests/onkernel"
)

func TestMain(m *testing.M) {
	if onkernel.Here() {
		onkernel.Run(m)
	}
	os.Exit(m.Run())
}

// testDisk is a disk image in memory, attached as a disk with partitions.
type testDisk struct {
	file, loop *os.File
	root, perm disk.Partition
	at         int64 // of the persistent partition, in bytes
}

// Where things lie in the empty file system (dumpe2fs), in blocks.
const (
	permBlock  = 4096
	permBitmap = 9   // of blocks
	permInodes = 25  // the bitmap of inodes
	permTable  = 41  // of inodes
	permBehind = 297 // folders and the rest of the journal
	permUsed   = 1297
	permRead   = permUsed + 512 // what a test changes and a node writes at first
)

// newDisk is a disk whose persistent partition holds a copy of a file system,
// changed by change, and has more room behind it.
func newDisk(t *testing.T, perm []byte, change func(perm []byte)) *testDisk {
	t.Helper()
	table := disk.NewTable(gpt.NewID([]byte("a disk")), map[int]int64{disk.Boot: 1 << 20, disk.Root: 1 << 20})
	head, tail, err := table.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &testDisk{}
	onDisk, err := table.Partition(disk.Perm)
	if err != nil {
		t.Fatal(err)
	}
	d.at = onDisk.Start
	if d.file, err = os.Create(filepath.Join("/tmp", "disk")); err != nil {
		t.Fatal(err)
	}
	used := bytes.Clone(perm)
	change(used)
	for at, data := range map[int64][]byte{0: head, table.Size - table.Tail(): tail} {
		if _, err := d.file.WriteAt(data, at); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.file.WriteAt(used, d.at); err != nil {
		t.Fatal(err)
	}
	if err := d.file.Truncate(192 << 20); err != nil {
		t.Fatal(err)
	}
	d.attach(t)
	return d
}

// attach makes a block device of the file, with partitions.
func (d *testDisk) attach(t *testing.T) {
	t.Helper()
	const name = "loop0"
	var err error
	if d.loop, err = os.OpenFile("/dev/"+name, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	config := unix.LoopConfig{Fd: uint32(d.file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_PARTSCAN
	if err := unix.IoctlLoopConfigure(int(d.loop.Fd()), &config); err != nil {
		t.Fatal(err)
	}
	found, err := disk.FindPartitions("/dev/" + name + "p2")
	if err != nil || len(found) != 1 {
		t.Fatalf("the kernel finds the partitions %+v, %v", found, err)
	}
	d.root = found[0]
	if d.perm, err = d.root.Sibling(disk.Perm); err != nil {
		t.Fatal(err)
	}
}

// end takes the disk away again.
func (d *testDisk) end(t *testing.T) {
	t.Helper()
	if err := linux.Unmount(permDir); err != nil {
		t.Error(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.loop.Fd(), unix.LOOP_CLR_FD, 0); errno != 0 {
		t.Error(errno)
	}
	if err := errors.Join(d.loop.Close(), d.file.Close(), os.Remove(d.file.Name())); err != nil {
		t.Error(err)
	}
}

// started is a node whose init has come to the persistent partition of a disk.
func (d *testDisk) started() (n *node, err error) {
	n = newNode(linux.Console{})
	n.report.line = func(linux.Priority, string, string) {}
	n.disk = &d.root
	return n, n.mountPerm()
}

// keep writes to what a node keeps, and makes it durable.
func keep(n *node, text string) error {
	if n.data == "" {
		return errors.New("nothing is kept")
	}
	f, err := os.Create(filepath.Join(n.data, "identity.pem"))
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// usedPerm is a file system that a node has used, as a power cut leaves it.
func usedPerm(t *testing.T, empty []byte) []byte {
	t.Helper()
	d := newDisk(t, empty, func([]byte) {})
	defer d.end(t)
	n, err := d.started()
	if err == nil {
		err = keep(n, "an identity")
	}
	for i := range 20 {
		if err == nil {
			err = os.WriteFile(filepath.Join(dataDir, fmt.Sprint("file", i)), make([]byte, i*5000), 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	used := make([]byte, len(empty))
	if _, err := d.file.ReadAt(used, d.at); err != nil {
		t.Fatal(err)
	}
	return used
}

// journalBlock is the first block of the journal, which has a magic number.
func journalBlock(perm []byte) int {
	for n := range permUsed {
		if binary.BigEndian.Uint32(perm[n*permBlock:]) == 0xc03b3998 {
			return n
		}
	}
	panic("there is no journal")
}

// garbage overwrites blocks.
func garbage(some *rand.Rand, perm []byte, first, blocks int) {
	for at := first * permBlock; at < (first+blocks)*permBlock; at += 8 {
		binary.LittleEndian.PutUint64(perm[at:], some.Uint64())
	}
}

var mutations = map[string]func(some *rand.Rand, perm []byte){
	"as it was":               func(*rand.Rand, []byte) {},
	"superblock zeroed":       func(_ *rand.Rand, p []byte) { clear(p[1024:2048]) },
	"a bit of the superblock": func(some *rand.Rand, p []byte) { p[1024+some.IntN(1024)] ^= 1 << some.IntN(8) },
	"first MiB random":        func(some *rand.Rand, p []byte) { garbage(some, p, 0, 256) },
	"first MiB zeroed":        func(_ *rand.Rand, p []byte) { clear(p[:1<<20]) },
	"truncated":               func(_ *rand.Rand, p []byte) { clear(p[1<<20:]) },
	"all random":              func(some *rand.Rand, p []byte) { garbage(some, p, 0, permRead) },
	"groups random":           func(some *rand.Rand, p []byte) { garbage(some, p, 1, 1) },
	"block bitmap random":     func(some *rand.Rand, p []byte) { garbage(some, p, permBitmap, 1) },
	"inode bitmap random":     func(some *rand.Rand, p []byte) { garbage(some, p, permInodes, 1) },
	"inodes random":           func(some *rand.Rand, p []byte) { garbage(some, p, permTable, 16) },
	"inodes zeroed":           func(_ *rand.Rand, p []byte) { clear(p[permTable*permBlock:][:16*permBlock]) },
	"folders random":          func(some *rand.Rand, p []byte) { garbage(some, p, permBehind, 12) },
	"journal's head random":   func(some *rand.Rand, p []byte) { garbage(some, p, journalBlock(p), 1) },
	"journal's head zeroed":   func(_ *rand.Rand, p []byte) { clear(p[journalBlock(p)*permBlock:][:permBlock]) },
	"journal random":          func(some *rand.Rand, p []byte) { garbage(some, p, permBehind+12, permUsed-permBehind-12) },
	"blocks random": func(some *rand.Rand, p []byte) {
		for range 1 + some.IntN(40) {
			garbage(some, p, some.IntN(permUsed), 1)
		}
	},
	"bits": func(some *rand.Rand, p []byte) {
		for range 1 + some.IntN(400) {
			p[some.IntN(permBehind*permBlock)] ^= 1 << some.IntN(8)
		}
	},
}

// Whatever the persistent partition holds: as long as its disk can be read, a
// node that starts on it keeps what it writes, and finds it at the next start; or
// it has its old identity, and says that nothing new is kept.
func TestStartOnMutatedDisks(t *testing.T) {
	if !onkernel.Here() {
		t.Skip("runs as the only program of a machine: tests/machines/kernel_test.go")
	}
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	empty, err := os.ReadFile(permTemplate)
	if err != nil {
		t.Fatal(err)
	}
	empty = empty[:permRead*permBlock]
	used := usedPerm(t, empty)
	outcomes := map[string]int{}
	for name, mutate := range mutations {
		for base, perm := range map[string][]byte{"empty": empty, "used": used} {
			for seed := range seeds {
				some := rand.New(rand.NewPCG(seed, 1))
				outcome, err := startTwice(t, perm, func(p []byte) { mutate(some, p) })
				if err != nil {
					t.Errorf("%s, %s, seed %d: %s, %v", name, base, seed, outcome, err)
				}
				outcomes[outcome]++
			}
		}
	}
	for outcome, times := range outcomes {
		t.Logf("%4d %s", times, outcome)
	}
	for _, outcome := range []string{"kept", "renewed"} {
		if outcomes[outcome] == 0 {
			t.Errorf("none was %s", outcome)
		}
	}
}

// startTwice starts a node on a disk, and again after a power cut. It returns an
// error where the node is neither able to keep something nor says why not.
func startTwice(t *testing.T, perm []byte, change func([]byte)) (outcome string, err error) {
	t.Helper()
	d := newDisk(t, perm, change)
	defer d.end(t)
	n, said := d.started()
	outcome = "kept"
	if len(n.report.problems) > 0 {
		outcome = "renewed"
	}
	if err := keep(n, "a new identity"); err != nil {
		if text, _ := os.ReadFile(identityFile); string(text) == "an identity" && errors.Join(said, permLost(d.perm)) != nil {
			return "kept as it was", nil
		}
		return outcome, fmt.Errorf("%w, after %w", err, said)
	}
	if err := n.growPerm(); err != nil { // said: what it lacks is only room
		outcome += " in its size"
	}
	if err := linux.Unmount(permDir); err != nil {
		t.Error(err)
	}
	n, said = d.started()
	text, err := os.ReadFile(identityFile)
	if said != nil || len(n.report.problems) > 0 || string(text) != "a new identity" {
		return outcome, fmt.Errorf("at the next start it has kept %q, %w, %v, %q", text, err, said, n.report.problems)
	}
	return outcome, nil
}
