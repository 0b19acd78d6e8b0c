// Package ext4 knows the file system on the persistent partition: how large it is,
// how it grows while it is in use, and how an empty one is laid.
package ext4

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ext4 superblock, at byte 1024 of the device: offsets of what is read of it
// (Documentation/filesystems/ext4/super.rst of Linux).
const (
	superblockAt   = 1024
	superblockSize = 1024
	atBlocksLow    = 0x04 // u32
	atLogBlock     = 0x18 // u32, log2 of the block size less 10
	atExt4Magic    = 0x38 // u16, 0xef53
	atIncompat     = 0x60 // u32
	atBlocksHigh   = 0x150
	incompat64     = 0x80 // the high half counts

	resizeExt4 = 0x40086610 // EXT4_IOC_RESIZE_FS: _IOW('f', 16, u64)
	minGrowth  = 1 << 20    // less is not worth it
)

// NeedsReplay says whether the journal of the ext4 on a device is replayed by the
// next mount: the power was cut, or the last mount was not ended.
func NeedsReplay(device string) (bool, error) {
	disk, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer disk.Close()
	super := make([]byte, superblockSize)
	if _, err := disk.ReadAt(super, superblockAt); err != nil {
		return false, fmt.Errorf("reading the superblock of %s: %w", device, err)
	}
	if _, _, err := parseSuperblock(super); err != nil {
		return false, fmt.Errorf("%s: %w", device, err)
	}
	const recover = 0x4 // EXT4_FEATURE_INCOMPAT_RECOVER of fs/ext4/ext4.h
	return super[atIncompat]&recover != 0, nil
}

// Grow lets the ext4 that is mounted at dir from device take all of that,
// while it is in use, and returns how many bytes it has grown by: 0 where it
// fills the device already. A power cut meanwhile leaves it with the old size
// or the new one; where NeedsReplay then says so it must be mounted twice, since
// the kernel counts block groups before it replays the journal.
func Grow(dir, device string) (grown int64, err error) {
	disk, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer disk.Close()
	size, err := disk.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("measuring %s: %w", device, err)
	}
	super := make([]byte, superblockSize)
	if _, err := disk.ReadAt(super, superblockAt); err != nil {
		return 0, fmt.Errorf("reading the superblock of %s: %w", device, err)
	}
	have, block, err := parseSuperblock(super)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", device, err)
	}
	if size-have < minGrowth {
		return 0, nil
	}
	at, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer at.Close()
	blocks := uint64(size / block)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, at.Fd(), resizeExt4, uintptr(unsafe.Pointer(&blocks)))
	runtime.KeepAlive(&blocks)
	if errno != 0 {
		return 0, fmt.Errorf("growing %s to all of %s: %w", dir, device, errno)
	}
	return int64(blocks)*block - have, nil
}

// Errors is how many errors the kernel has found in the file system that is
// mounted from a partition, now and earlier: the count is kept in the superblock.
func Errors(partition string) (int, error) { return attribute(partition, "errors_count") }

// Damaged says whether the last of those errors was one of the file system itself
// and not of the device (fs/ext4/ext4.h, EXT4_ERR_EFSBADCRC, EXT4_ERR_EFSCORRUPTED).
func Damaged(partition string) bool {
	code, err := attribute(partition, "last_error_errcode")
	return err == nil && (code == 4 || code == 5)
}

// attribute reads a number that the kernel shows of a mounted file system.
func attribute(partition, name string) (int, error) {
	path := "/sys/fs/ext4/" + partition + "/" + name
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return number, nil
}

// parseSuperblock returns how large a file system is and how large its blocks
// are, in bytes.
func parseSuperblock(super []byte) (size, block int64, err error) {
	le := binary.LittleEndian
	if len(super) < superblockSize || le.Uint16(super[atExt4Magic:]) != 0xef53 {
		return 0, 0, fmt.Errorf("it holds no ext4")
	}
	log := le.Uint32(super[atLogBlock:])
	blocks := uint64(le.Uint32(super[atBlocksLow:]))
	if le.Uint32(super[atIncompat:])&incompat64 != 0 {
		blocks |= uint64(le.Uint32(super[atBlocksHigh:])) << 32
	}
	if log > 6 || blocks == 0 || blocks > 1<<44 { // 64 KiB a block at most
		return 0, 0, fmt.Errorf("its superblock cannot be: %d blocks of 2^%d KiB", blocks, log)
	}
	block = 1024 << log
	return int64(blocks) * block, block, nil
}
