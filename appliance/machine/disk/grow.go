package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
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

// GrowExt4 lets the ext4 that is mounted at dir from device take all of that,
// while it is in use, and returns how many bytes it has grown by: 0 where it
// fills the device already. A power cut meanwhile leaves it with the old size
// or the new one.
func GrowExt4(dir, device string) (grown int64, err error) {
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
