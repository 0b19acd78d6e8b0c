package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Offsets in the superblock and in the descriptor of a group, of what laying a
// template reads (Documentation/filesystems/ext4 of Linux).
const (
	atFirstBlock     = 0x14 // u32
	atBlocksPerGroup = 0x20 // u32
	atBitmapLow      = 0x00 // u32, in the descriptor: the block of the bitmap of blocks
	atGroupFlags     = 0x12 // u16
	blockUninit      = 2    // the bitmap is not written yet

	templateBlock = 4096 // bytes, of every template
	chunkBlocks   = 256  // that are written at once
)

// Unusable says whether the error of a mount, or of a first use, means that the
// device answers and holds no ext4 that can be used. An error of the device
// itself is none of these: what is on it may be whole.
func Unusable(err error) bool {
	for _, e := range []error{syscall.EINVAL, syscall.EUCLEAN, syscall.EBADMSG} { // no superblock, damaged, a wrong checksum
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Device is what a file system is laid on. Sync returns when all that was
// written is on it.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// LayOn is Lay from a file onto a block device, which nobody may have open.
func LayOn(template, device string) error {
	from, err := os.Open(template)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	size, err := to.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("measuring %s: %w", device, err)
	}
	if err := Lay(from, to, size); err != nil {
		return fmt.Errorf("laying a file system on %s: %w", device, err)
	}
	return nil
}

// Lay puts the empty file system of a template in place of what a device of size
// bytes holds. Only what the template's own bitmap says is in use is written.
// Nothing is, unless all of that can be read first.
//
// The superblock of what is there is cleared first, and the new one is written
// last, each with all before it on the device: a cut leaves what was there, or
// nothing that looks like a file system, or the new one.
func Lay(template io.ReaderAt, to Device, size int64) error {
	used, blocks, err := usedBlocks(template)
	if err != nil {
		return fmt.Errorf("the template: %w", err)
	}
	if size < blocks*templateBlock {
		return fmt.Errorf("there are %d bytes, the file system takes %d", size, blocks*templateBlock)
	}
	if err := readable(to, used, size); err != nil {
		return err
	}
	put := func(data []byte, block int64) error {
		_, err := to.WriteAt(data, block*templateBlock)
		return err
	}
	if err := errors.Join(put(make([]byte, templateBlock), 0), to.Sync()); err != nil {
		return err
	}
	first := make([]byte, templateBlock)
	for _, r := range used {
		data := make([]byte, r.blocks*templateBlock)
		if _, err := template.ReadAt(data, r.first*templateBlock); err != nil {
			return fmt.Errorf("reading the template: %w", err)
		}
		if r.first == 0 { // the superblock
			copy(first, data)
			clear(data[:templateBlock])
		}
		if err := put(data, r.first); err != nil {
			return err
		}
	}
	if err := to.Sync(); err != nil {
		return err
	}
	return errors.Join(put(first, 0), to.Sync())
}

// blockRange is at most chunkBlocks blocks, one after the other.
type blockRange struct{ first, blocks int64 }

// usedBlocks returns the blocks of a file system of one group that are in use,
// and how many blocks it has.
func usedBlocks(template io.ReaderAt) (used []blockRange, blocks int64, err error) {
	le := binary.LittleEndian
	super, group, bitmap := make([]byte, superblockSize), make([]byte, 32), make([]byte, templateBlock)
	if _, err := template.ReadAt(super, superblockAt); err != nil {
		return nil, 0, err
	}
	size, block, err := parseSuperblock(super)
	if err != nil {
		return nil, 0, err
	}
	blocks = size / block
	perGroup := int64(le.Uint32(super[atBlocksPerGroup:]))
	if block != templateBlock || le.Uint32(super[atFirstBlock:]) != 0 || perGroup > 8*templateBlock || blocks > perGroup {
		return nil, 0, fmt.Errorf("it is not one group of blocks of %d bytes", templateBlock)
	}
	if _, err := template.ReadAt(group, templateBlock); err != nil {
		return nil, 0, err
	}
	at := int64(le.Uint32(group[atBitmapLow:]))
	if at == 0 || at >= blocks || le.Uint16(group[atGroupFlags:])&blockUninit != 0 {
		return nil, 0, errors.New("it has no bitmap of its blocks")
	}
	if _, err := template.ReadAt(bitmap, at*templateBlock); err != nil {
		return nil, 0, err
	}
	for n := range blocks {
		if bitmap[n/8]&(1<<(n%8)) == 0 {
			continue
		}
		if last := len(used) - 1; last >= 0 && used[last].first+used[last].blocks == n && used[last].blocks < chunkBlocks {
			used[last].blocks++
		} else {
			used = append(used, blockRange{n, 1})
		}
	}
	if len(used) == 0 || used[0].first != 0 {
		return nil, 0, errors.New("its bitmap does not have the superblock")
	}
	return used, blocks, nil
}

// readable reads what is going to be written, and the end of the device.
func readable(device io.ReaderAt, used []blockRange, size int64) error {
	buffer := make([]byte, chunkBlocks*templateBlock)
	for _, r := range used {
		if _, err := device.ReadAt(buffer[:r.blocks*templateBlock], r.first*templateBlock); err != nil {
			return fmt.Errorf("it cannot be read: %w", err)
		}
	}
	if _, err := device.ReadAt(buffer[:templateBlock], size-templateBlock); err != nil {
		return fmt.Errorf("its end cannot be read: %w", err)
	}
	return nil
}
