package kexecplan

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// A bzImage carries the kernel proper, vmlinux, compressed, and unpacks it
// between the kernels, while the machine serves nothing. It can be done before the jump: an
// unpacked kernel, here, is the bzImage's first sectors, which hold the setup
// header, and then vmlinux with the relocations behind it that move it to
// another virtual address (arch/x86/boot/compressed/misc.c of Linux).
const (
	atLoadFlags     = 0x211 // u8
	atPayload       = 0x248 // u32, where vmlinux lies in the protected mode code
	atPayloadLength = 0x24c // u32; the last 4 bytes are the length it unpacks to

	movedFlag = 1 << 1 // loadflags: the kernel's addresses were drawn at random

	// The kernel's virtual addresses begin here and may reach so far.
	kernelMap = 0xffffffff80000000
	maxReach  = 1 << 30
)

// Packed is where the kernel proper lies in a bzImage. In bytes.
type Packed struct {
	Head     int64 // what an unpacked kernel begins with
	At, Size int64 // the compressed stream
	Unpacked int64 // what comes out of it
}

// FindPacked looks into a bzImage; false for any other kernel, and for one that
// does not say how long it becomes.
func FindPacked(kernel io.ReaderAt, size int64) (Packed, bool) {
	head := make([]byte, zeroPage)
	if _, err := kernel.ReadAt(head, 0); err != nil {
		return Packed{}, false
	}
	h, err := parseHeader(head, size)
	if err != nil {
		return Packed{}, false
	}
	le := binary.LittleEndian
	p := Packed{Head: int64(h.payload), At: int64(h.payload) + int64(le.Uint32(head[atPayload:])), Size: int64(le.Uint32(head[atPayloadLength:])) - 4}
	var length [4]byte
	if p.Size <= 0 || p.At+p.Size+4 > size {
		return Packed{}, false
	}
	if _, err := kernel.ReadAt(length[:], p.At+p.Size); err != nil {
		return Packed{}, false
	}
	p.Unpacked = int64(le.Uint32(length[:]))
	return p, p.Unpacked > p.Size && p.Head+p.Unpacked <= int64(h.initSize)
}

// Move gives an unpacked kernel another virtual address, chosen by a random
// number, as it would do itself when unpacking, and changes it in place. A
// kernel that cannot be moved so is an error.
func Move(kernel []byte, random uint64) error {
	h, err := parseHeader(kernel, int64(len(kernel)))
	if err != nil {
		return err
	}
	image := kernel[h.payload:]
	v, err := parseVmlinux(image, h)
	if err != nil {
		return err
	}
	wide, narrow, err := v.relocations(image)
	if err != nil {
		return err
	}
	slots := (maxReach-h.preferred-h.initSize)/h.alignment + 1
	by := random % slots * h.alignment
	le := binary.LittleEndian
	for _, list := range []struct {
		words []byte
		width uint64
	}{{wide, 8}, {narrow, 4}} {
		for w := range slices.Chunk(list.words, 4) {
			// A word is an address of the kernel, cut to its low half.
			at, ok := v.offset(0xffffffff_00000000|uint64(le.Uint32(w)), list.width)
			switch {
			case !ok:
				return fmt.Errorf("the kernel has a relocation outside itself, at %#x", le.Uint32(w))
			case list.width == 8:
				le.PutUint64(image[at:], le.Uint64(image[at:])+by)
			default:
				le.PutUint32(image[at:], le.Uint32(image[at:])+uint32(by))
			}
		}
	}
	kernel[atLoadFlags] |= movedFlag
	return nil
}

// vmlinux is what is loaded of an unpacked kernel.
type vmlinux struct {
	parts []elf.Prog64 // by address; all loaded
	entry uint64       // from the beginning of its memory
	end   uint64       // of the ELF file; the relocations follow
}

func isVmlinux(image []byte) bool { return bytes.HasPrefix(image, []byte(elf.ELFMAG)) }

const (
	elfHeaderSize  = 64
	elfProgSize    = 56
	elfSectionSize = 64
	maxParts       = 8 // the kernel has two; kexec_load takes 16 segments
)

func parseVmlinux(image []byte, h header) (v vmlinux, err error) {
	var e elf.Header64
	if _, err := binary.Decode(image, binary.LittleEndian, &e); err != nil || !isVmlinux(image) {
		return v, fmt.Errorf("what the kernel unpacks to is no ELF file")
	}
	size := uint64(len(image))
	if e.Machine != uint16(elf.EM_X86_64) || e.Ident[elf.EI_CLASS] != byte(elf.ELFCLASS64) || e.Phentsize != elfProgSize || e.Phoff > size || uint64(e.Phnum)*elfProgSize > size-e.Phoff {
		return v, fmt.Errorf("what the kernel unpacks to is no x86_64 ELF file")
	}
	for i := range uint64(e.Phnum) {
		var p elf.Prog64
		if _, err := binary.Decode(image[e.Phoff+i*elfProgSize:], binary.LittleEndian, &p); err != nil {
			return v, err
		}
		if p.Type == uint32(elf.PT_LOAD) {
			v.parts = append(v.parts, p)
		}
	}
	slices.SortFunc(v.parts, func(a, b elf.Prog64) int { return cmp.Compare(a.Paddr, b.Paddr) })
	if h.preferred > maxReach || h.initSize > maxReach-h.preferred {
		return v, fmt.Errorf("the unpacked kernel is to lie at %#x, beyond what its addresses reach", h.preferred)
	}
	if len(v.parts) == 0 || len(v.parts) > maxParts || v.parts[0].Paddr != h.preferred {
		return v, fmt.Errorf("the unpacked kernel has %d parts to load, and the first is not where its header says", len(v.parts))
	}
	next, limit := h.preferred, h.preferred+h.initSize
	for _, p := range v.parts {
		if p.Off > size || p.Filesz > size-p.Off || p.Filesz > p.Memsz || p.Paddr%h.alignment != 0 || p.Paddr < next || p.Paddr > limit || p.Memsz > limit-p.Paddr {
			return v, fmt.Errorf("the unpacked kernel's part at %#x cannot be", p.Paddr)
		}
		next = p.Paddr + p.Memsz
	}
	if _, ok := v.offset(e.Entry+kernelMap, 1); !ok {
		return v, fmt.Errorf("the unpacked kernel is entered at %#x, where there is nothing of it", e.Entry)
	}
	v.entry = e.Entry - h.preferred
	v.end = e.Shoff + uint64(e.Shnum)*elfSectionSize
	if e.Shoff > size || v.end > size {
		return v, fmt.Errorf("the unpacked kernel is cut off")
	}
	return v, nil
}

// offset is where width bytes at a virtual address lie in the file.
func (v vmlinux) offset(address, width uint64) (uint64, bool) {
	physical := address - kernelMap
	for _, p := range v.parts {
		if p.Paddr <= physical && physical-p.Paddr < p.Filesz && p.Filesz-(physical-p.Paddr) >= width {
			return p.Off + physical - p.Paddr, true
		}
	}
	return 0, false
}

// relocations are the two lists behind the ELF file, of words of 64 and of 32
// bits: zero, the first, zero, the second. Kernels before 6.15 have a third, and
// those that were built not to move none; neither is moved here.
func (v vmlinux) relocations(image []byte) (wide, narrow []byte, err error) {
	rest := image[v.end:]
	var lists [][]byte
	for len(rest) >= 4 && len(rest)%4 == 0 && [4]byte(rest) == [4]byte{} && len(lists) < 3 {
		end := 4
		for end < len(rest) && [4]byte(rest[end:]) != [4]byte{} {
			end += 4
		}
		lists = append(lists, rest[4:end])
		rest = rest[end:]
	}
	if len(rest) != 0 || len(lists) != 2 {
		return nil, nil, fmt.Errorf("the kernel does not carry the relocations that are known here")
	}
	return lists[0], lists[1], nil
}

// segments places the parts from the address at on; each reaches to the next.
func (v vmlinux) segments(image []byte, h header, at uint64) []Segment {
	var out []Segment
	for i, p := range v.parts {
		end := h.initSize
		if i+1 < len(v.parts) {
			end = v.parts[i+1].Paddr - h.preferred
		}
		begin := p.Paddr - h.preferred
		out = append(out, Segment{Data: image[p.Off : p.Off+p.Filesz], At: at + begin, Size: end - begin})
	}
	return out
}
