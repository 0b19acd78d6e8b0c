package ext4

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// superblock is that of 16,384 blocks of 4 KiB.
func superblock(change func([]byte)) []byte {
	s := make([]byte, superblockSize)
	s[atBlocksLow+1], s[atLogBlock], s[atExt4Magic], s[atExt4Magic+1] = 0x40, 2, 0x53, 0xef
	if change != nil {
		change(s)
	}
	return s
}

func TestParseSuperblock(t *testing.T) {
	if size, block, err := parseSuperblock(superblock(nil)); size != 64<<20 || block != 4096 || err != nil {
		t.Errorf("%d bytes, blocks of %d, %v", size, block, err)
	}
	large := superblock(func(s []byte) { s[atIncompat], s[atBlocksHigh] = incompat64, 1 })
	if size, _, err := parseSuperblock(large); size != 64<<20+4096<<32 || err != nil {
		t.Errorf("%d bytes, %v", size, err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "zeros": make([]byte, superblockSize), "no blocks": superblock(func(s []byte) { s[atBlocksLow+1] = 0 }),
		"huge blocks": superblock(func(s []byte) { s[atLogBlock] = 30 }),
		"too many":    superblock(func(s []byte) { s[atIncompat], s[atBlocksHigh+3] = incompat64, 0xff }),
	} {
		if size, _, err := parseSuperblock(bad); err == nil {
			t.Errorf("%s: %d bytes", name, size)
		}
	}
}

func TestNeedsReplay(t *testing.T) {
	for incompat, want := range map[byte]bool{0: false, incompat64: false, 4: true, incompat64 | 4: true} {
		device := filepath.Join(t.TempDir(), "device")
		data := append(make([]byte, superblockAt), superblock(func(s []byte) { s[atIncompat] = incompat })...)
		if err := os.WriteFile(device, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := NeedsReplay(device); got != want || err != nil {
			t.Errorf("features %#x: %v, %v", incompat, got, err)
		}
	}
	if _, err := NeedsReplay("/dev/null"); err == nil {
		t.Error("nothing is a file system")
	}
}

// FuzzParseSuperblock states: what is accepted is a size.
func FuzzParseSuperblock(f *testing.F) {
	f.Add(superblock(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if size, block, err := parseSuperblock(data); err == nil && (size < block || block < 1024 || size%block != 0) {
			t.Errorf("%d bytes, blocks of %d", size, block)
		}
	})
}

// A file system of 64 MiB on a device of 512 takes all of it while it is in use.
func TestGrow(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	var have [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0]); err != nil || have[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		t.Skip("needs CAP_SYS_RESOURCE to grow; the machines' TestStickGrows has it")
	}
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "at")
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Skipf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	run("/usr/sbin/mkfs.ext4", "-q", "-b", "4096", "-m", "0", image)
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatal(err)
	}
	device := run("losetup", "--find", "--show", image)
	defer func() { _ = exec.Command("losetup", "--detach", device).Run() }() // gone with its last user anyway
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(device, at, "ext4", 0, ""); err != nil {
		t.Skipf("ext4 cannot be mounted here: %v", err)
	}
	mounted := true
	defer func() {
		if mounted {
			_ = unix.Unmount(at, 0)
		}
	}()
	kept := filepath.Join(at, "kept")
	if err := os.WriteFile(kept, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if grown, err := Grow(at, device); err != nil || grown != 448<<20 {
		t.Fatalf("grown by %d bytes, %v", grown, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(at, &fs); err != nil || int64(fs.Blocks)*fs.Bsize < 400<<20 {
		t.Errorf("%d blocks, %v", fs.Blocks, err)
	}
	if data, err := os.ReadFile(kept); err != nil || string(data) != "kept" {
		t.Errorf("%q, %v", data, err)
	}
	if grown, err := Grow(at, device); err != nil || grown != 0 {
		t.Errorf("grown again by %d bytes, %v", grown, err)
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	mounted = false
	if out, err := exec.Command("/usr/sbin/e2fsck", "-fn", device).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v: %s", err, out)
	}
}
