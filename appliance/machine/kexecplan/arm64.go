package kexecplan

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/u-root/u-root/pkg/dt"
)

// Offsets into the header of an arm64 Image, and what its memory must be:
// Documentation/arch/arm64/booting.rst of Linux.
const (
	arm64HeaderSize = 64
	atTextOffset    = 8  // u64
	atImageSize     = 16 // u64, with what the file does not hold
	atARM64Magic    = 56 // "ARM\x64"
	arm64Alignment  = 2 << 20
	maxDeviceTree   = 2 << 20
)

var arm64Magic = []byte("ARM\x64")

// ARM64 is what an arm64 machine says of itself.
type ARM64 struct {
	DeviceTree []byte // flattened, as the running kernel was given it
	RAM        []Range
	Reserved   []Range // what of the RAM must be left alone
	Seed       []byte  // randomness for the next kernel, at least 16 bytes
}

// Plan lays out an Image that is not compressed.
func (m ARM64) Plan(kernel, initrd []byte, cmdline string) (Plan, error) {
	le := binary.LittleEndian
	if len(kernel) < arm64HeaderSize || !bytes.Equal(kernel[atARM64Magic:][:4], arm64Magic) {
		return Plan{}, fmt.Errorf("the kernel is no arm64 Image, or it is compressed")
	}
	offset, size := le.Uint64(kernel[atTextOffset:]), le.Uint64(kernel[atImageSize:])
	if offset >= arm64Alignment || offset%page != 0 || size < uint64(len(kernel)) || size > maxKernel {
		return Plan{}, fmt.Errorf("the kernel's header cannot be: %d bytes at offset %d, in a file of %d", size, offset, len(kernel))
	}
	size = roundUp(size, page)
	s := newSpace(m.RAM, m.Reserved)
	at, ok := s.low(size, 0, arm64Alignment, offset)
	if !ok {
		return Plan{}, noRoom("a kernel", size)
	}
	// Kernel and initrd must lie within 32 GiB.
	const window = 32 << 30
	initrdSize := roundUp(uint64(len(initrd)), page)
	initrdAt, ok := s.high(initrdSize, at&^(1<<30-1)+window)
	if !ok || initrdAt < at&^(1<<30-1) {
		return Plan{}, noRoom("an initrd", initrdSize)
	}
	tree, err := m.tree(initrdAt, uint64(len(initrd)), cmdline)
	if err != nil {
		return Plan{}, err
	}
	enter := roundUp(uint64(len(tree)), 8)
	params := make([]byte, enter, enter+64)
	copy(params, tree)
	paramsSize := roundUp(enter+64, page)
	paramsAt, ok := s.high(paramsSize, 1<<63)
	if !ok {
		return Plan{}, noRoom("a device tree", paramsSize)
	}
	params = append(params, enterARM64(at, paramsAt)...)
	return Plan{Entry: paramsAt + enter, Segments: []Segment{
		{Data: kernel, At: at, Size: size},
		{Data: initrd, At: initrdAt, Size: initrdSize},
		{Data: params, At: paramsAt, Size: paramsSize},
	}}, nil
}

// enterARM64 is code that enters a kernel with the address of the device tree
// in x0 and nothing in x1 to x3.
func enterARM64(entry, tree uint64) []byte {
	var code []byte
	for _, instruction := range []uint32{
		0x580000c4, // ldr x4, 24 bytes on
		0x580000e0, // ldr x0, 28 bytes on
		0xaa1f03e1, // mov x1, xzr
		0xaa1f03e2, // mov x2, xzr
		0xaa1f03e3, // mov x3, xzr
		0xd61f0080, // br x4
	} {
		code = binary.LittleEndian.AppendUint32(code, instruction)
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(code, entry), tree)
}

// tree is the running kernel's device tree, changed for the next one. All
// that speaks of the machine and its firmware stays.
func (m ARM64) tree(initrd, size uint64, cmdline string) ([]byte, error) {
	if len(m.DeviceTree) > maxDeviceTree {
		return nil, fmt.Errorf("the device tree has %d bytes, at most %d are allowed", len(m.DeviceTree), maxDeviceTree)
	}
	tree, err := dt.ReadFDT(bytes.NewReader(m.DeviceTree))
	if err != nil {
		return nil, fmt.Errorf("reading the device tree of this machine: %w", err)
	}
	chosen, ok := tree.NodeByName("chosen")
	if !ok {
		return nil, fmt.Errorf("the device tree of this machine has no node chosen")
	}
	if len(m.Seed) < 16 {
		return nil, fmt.Errorf("the seed for the next kernel has %d bytes, at least 16 are needed", len(m.Seed))
	}
	for _, name := range []string{"linux,elfcorehdr", "linux,usable-memory-range"} {
		chosen.RemoveProperty(name)
	}
	chosen.UpdateProperty("linux,initrd-start", binary.BigEndian.AppendUint64(nil, initrd))
	chosen.UpdateProperty("linux,initrd-end", binary.BigEndian.AppendUint64(nil, initrd+size))
	chosen.UpdateProperty("bootargs", append([]byte(cmdline), 0))
	chosen.UpdateProperty("kaslr-seed", m.Seed[:8])
	chosen.UpdateProperty("rng-seed", m.Seed[8:])
	var out bytes.Buffer
	if _, err := tree.Write(&out); err != nil {
		return nil, fmt.Errorf("writing the device tree of the next kernel: %w", err)
	}
	if out.Len() > maxDeviceTree {
		return nil, fmt.Errorf("the device tree of the next kernel has %d bytes, at most %d are allowed", out.Len(), maxDeviceTree)
	}
	return out.Bytes(), nil
}
