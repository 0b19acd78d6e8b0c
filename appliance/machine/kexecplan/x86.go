package kexecplan

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Offsets into the boot parameters, the "zero page", and into the setup header
// that a bzImage begins with at the same offset: Documentation/arch/x86/boot.rst
// and zero-page.rst of Linux.
const (
	zeroPage = 4096

	atRSDP        = 0x070 // u64, ACPI's root pointer
	atExtInitrd   = 0x0c0 // u32 twice: high halves of the initrd's address and size
	atExtCmdline  = 0x0c8 // u32, high half of the command line's address
	atEFI         = 0x1c0 // efi_info, see efi.go
	atE820Entries = 0x1e8 // u8
	atSentinel    = 0x1ef // u8; not 0: the fields before it are rubbish
	atHeader      = 0x1f1
	atSetupSects  = 0x1f1 // u8, 512 byte sectors of real mode code
	atBootFlag    = 0x1fe // u16, 0xaa55
	atHeaderEnd   = 0x201 // u8, the header's end less 0x202
	atMagic       = 0x202 // "HdrS"
	atVersion     = 0x206 // u16
	atLoader      = 0x210 // u8
	atInitrd      = 0x218 // u32 address, u32 size
	atCmdline     = 0x228 // u32 address
	atInitrdMax   = 0x22c // u32, the initrd's highest last byte
	atAlignment   = 0x230 // u32
	atRelocatable = 0x234 // u8
	atLoadFlags2  = 0x236 // u16, xloadflags
	atCmdlineMax  = 0x238 // u32, bytes without the NUL
	atSetupData   = 0x250 // u64, head of a list
	atPreferred   = 0x258 // u64
	atInitSize    = 0x260 // u32, memory it needs until it knows its own way
	atE820        = 0x2d0

	maxHeaderEnd = 0x290 // no header reaches beyond
	maxE820      = 128
	e820Size     = 20
	kexecLoader  = 0xd0 // the loader's number given to kexec
	kernel64     = 1    // xloadflags: it can be entered in 64-bit mode
	entry64      = 0x200
	minVersion   = 0x020c // has xloadflags
)

var x86Magic = []byte("HdrS")

// Kinds of x86 memory (E820, as in the ACPI specification, table 15.4).
const (
	E820RAM      = 1
	E820Reserved = 2
	E820ACPI     = 3
	E820NVS      = 4
)

// E820 is a line of the firmware's map of the memory.
type E820 struct {
	Range
	Kind uint32
}

// X86 is what an x86_64 machine says of itself.
type X86 struct {
	// BootParams are the 4096 bytes that its running kernel was given, of
	// which the next one inherits what describes screens and firmware.
	BootParams []byte
	Memory     []E820
	EFI        *EFI   // nil: booted by a BIOS, or its runtime is out of use
	RSDP       uint64 // address of ACPI's root pointer, where the parameters lack it; may be 0
	Seed       []byte // randomness for the next kernel, at least 16 bytes
}

// Plan lays out a kernel, entered in 64-bit mode: a bzImage, which unpacks
// itself there, at a random address, as after any boot, or an unpacked one, as
// Move left it.
func (m X86) Plan(kernel, initrd []byte, cmdline string) (Plan, error) {
	h, err := parseHeader(kernel, int64(len(kernel)))
	if err != nil {
		return Plan{}, err
	}
	switch {
	case len(m.BootParams) != zeroPage:
		return Plan{}, fmt.Errorf("the boot parameters of the running kernel have %d bytes, not %d", len(m.BootParams), zeroPage)
	case len(m.Seed) < 16:
		return Plan{}, fmt.Errorf("the seed for the next kernel has %d bytes, at least 16 are needed", len(m.Seed))
	case uint64(len(cmdline)) > h.cmdlineMax:
		return Plan{}, fmt.Errorf("the command line has %d bytes and this kernel takes %d", len(cmdline), h.cmdlineMax)
	}
	s := m.space()
	initrdSize := roundUp(uint64(len(initrd)), page)
	initrdAt, ok := s.high(initrdSize, min(h.initrdMax+1, 1<<32))
	if !ok {
		return Plan{}, noRoom("an initrd", initrdSize)
	}
	// What the next kernel reads of its machine comes in one segment: the
	// parameters, the code that hands them over, the command line, and what does
	// not fit into the parameters.
	layout := m.layout(cmdline)
	paramsAt, ok := s.high(layout.size(), 1<<32)
	if !ok {
		return Plan{}, noRoom("the boot parameters", layout.size())
	}
	code, entry, err := h.place(s, kernel[h.payload:], binary.LittleEndian.Uint64(m.Seed))
	if err != nil {
		return Plan{}, err
	}
	params := layout.params(paramsAt, m, h, cmdline)
	binary.LittleEndian.PutUint32(params[atInitrd:], uint32(initrdAt))
	binary.LittleEndian.PutUint32(params[atInitrd+4:], uint32(len(initrd)))
	copy(params[layout.enter:], enterX86(entry, paramsAt))

	return Plan{Entry: paramsAt + layout.enter, Segments: append(code,
		Segment{Data: initrd, At: initrdAt, Size: initrdSize},
		Segment{Data: params, At: paramsAt, Size: layout.size()},
	)}, nil
}

func (m X86) space() *space {
	var ram, reserved []Range
	for _, e := range m.Memory {
		if e.Kind == E820RAM {
			ram = append(ram, e.Range)
		} else {
			reserved = append(reserved, e.Range)
		}
	}
	return newSpace(ram, reserved)
}

// place finds the kernel's place and returns the segments of its code and where
// they are entered. All of the kernel's first memory is claimed, not its file's
// size alone: a bzImage moves within it while it still runs on the page tables of
// the jump, which are kept out of every segment. It also draws the kernel's
// address; for an unpacked one that is done here, with the random number.
func (h header) place(s *space, image []byte, random uint64) (code []Segment, entry uint64, err error) {
	if isVmlinux(image) {
		v, err := parseVmlinux(image, h)
		if err != nil {
			return nil, 0, err
		}
		at, ok := s.random(h.initSize, h.preferred, h.alignment, random)
		if !ok {
			return nil, 0, noRoom("a kernel", h.initSize)
		}
		return v.segments(image, h, at), at + v.entry, nil
	}
	at, ok := s.low(h.initSize, h.preferred, h.alignment, 0)
	if !ok {
		at, ok = s.low(h.initSize, 1<<20, h.alignment, 0)
	}
	if !ok {
		return nil, 0, noRoom("a kernel", h.initSize)
	}
	return []Segment{{Data: image, At: at, Size: h.initSize}}, at + entry64, nil
}

// enterX86 is code that enters a kernel as the 64-bit boot protocol wants it,
// with the address of the boot parameters in RSI.
func enterX86(entry, params uint64) []byte {
	le := binary.LittleEndian
	code := le.AppendUint64([]byte{0x48, 0xbe}, params)     // mov rsi, params
	code = le.AppendUint64(append(code, 0x48, 0xb8), entry) // mov rax, entry
	return append(code, 0xff, 0xe0)                         // jmp rax
}

// header is what the setup header of a bzImage says.
type header struct {
	bytes      []byte // from atHeader on
	payload    uint64 // where its protected mode code begins in the file
	initSize   uint64
	preferred  uint64
	alignment  uint64
	initrdMax  uint64
	cmdlineMax uint64
}

// parseHeader reads it from a file of so many bytes, of which kernel has the first.
func parseHeader(kernel []byte, size int64) (h header, err error) {
	if len(kernel) < zeroPage || binary.LittleEndian.Uint16(kernel[atBootFlag:]) != 0xaa55 || !bytes.Equal(kernel[atMagic:][:4], x86Magic) {
		return h, fmt.Errorf("the kernel is no bzImage: it has no setup header")
	}
	le := binary.LittleEndian
	if v := le.Uint16(kernel[atVersion:]); v < minVersion {
		return h, fmt.Errorf("the kernel speaks boot protocol %d.%02d; at least %d.%02d is needed", v>>8, v&0xff, minVersion>>8, minVersion&0xff)
	}
	if le.Uint16(kernel[atLoadFlags2:])&kernel64 == 0 || kernel[atRelocatable] == 0 {
		return h, fmt.Errorf("the kernel cannot be entered in 64-bit mode at any address")
	}
	end := atMagic + int(kernel[atHeaderEnd])
	if end <= atInitSize+4 || end > maxHeaderEnd {
		return h, fmt.Errorf("the kernel's setup header ends at %#x", end)
	}
	sects := uint64(kernel[atSetupSects])
	if sects == 0 { // means 4, says the protocol
		sects = 4
	}
	h = header{
		bytes:      kernel[atHeader:end],
		payload:    (sects + 1) * 512,
		initSize:   roundUp(uint64(le.Uint32(kernel[atInitSize:])), page),
		preferred:  le.Uint64(kernel[atPreferred:]),
		alignment:  uint64(le.Uint32(kernel[atAlignment:])),
		initrdMax:  uint64(le.Uint32(kernel[atInitrdMax:])),
		cmdlineMax: uint64(le.Uint32(kernel[atCmdlineMax:])),
	}
	switch {
	case h.payload+entry64 >= uint64(size):
		return h, fmt.Errorf("the kernel is cut off: its code begins at byte %d of %d", h.payload, size)
	case uint64(size)-h.payload > h.initSize:
		return h, fmt.Errorf("the kernel is larger than the %d bytes it says it needs", h.initSize)
	case h.initSize > maxKernel:
		return h, fmt.Errorf("the kernel wants to begin in %d bytes of memory, at most %d are allowed", h.initSize, maxKernel)
	case h.alignment < page || h.alignment&(h.alignment-1) != 0 || h.alignment > 1<<30:
		return h, fmt.Errorf("the kernel wants to be aligned to %d bytes", h.alignment)
	}
	return h, nil
}

// paramsLayout says where in the segment of the boot parameters, which come
// first, the rest of it lies; its fields are offsets.
type paramsLayout struct {
	enter, cmdline, seed, efiMap, efiSetup, e820, end uint64
}

func (l paramsLayout) size() uint64 { return roundUp(l.end, page) }

func (m X86) layout(cmdline string) (l paramsLayout) {
	l.enter = zeroPage
	l.cmdline = l.enter + 64
	l.seed = roundUp(l.cmdline+uint64(len(cmdline))+1, 16)
	l.efiMap = roundUp(l.seed+setupDataHead+uint64(len(m.Seed[8:])), 16)
	l.efiSetup, l.end = l.efiMap, l.efiMap
	if m.EFI != nil {
		l.efiSetup = l.efiMap + uint64(len(m.EFI.Runtime)*efiRegionSize)
		l.end = l.efiSetup + setupDataHead + efiSetupSize
	}
	l.e820 = roundUp(l.end, 16)
	if more := len(m.Memory) - maxE820; more > 0 {
		l.end = l.e820 + setupDataHead + uint64(more*e820Size)
	}
	return l
}

// Kinds of setup_data, and the size of its head: next u64, kind u32, length u32.
const (
	setupE820Ext  = 1
	setupEFI      = 4
	setupSeed     = 9
	setupDataHead = 16
)

// params writes the segment that will lie at address at.
func (l paramsLayout) params(at uint64, m X86, h header, cmdline string) []byte {
	le := binary.LittleEndian
	p := make([]byte, l.end)
	copy(p, m.BootParams)
	clear(p[atExtInitrd : atExtCmdline+4])
	p[atSentinel] = 0
	clear(p[atHeader:maxHeaderEnd])
	copy(p[atHeader:], h.bytes)
	p[atLoader] = kexecLoader
	copy(p[l.cmdline:], cmdline)
	le.PutUint32(p[atCmdline:], uint32(at+l.cmdline))
	if le.Uint64(p[atRSDP:]) == 0 {
		le.PutUint64(p[atRSDP:], m.RSDP)
	}

	var list uint64
	data := func(offset uint64, kind uint32, body []byte) {
		le.PutUint64(p[offset:], list)
		le.PutUint32(p[offset+8:], kind)
		le.PutUint32(p[offset+12:], uint32(len(body)))
		copy(p[offset+setupDataHead:], body)
		list = at + offset
	}
	data(l.seed, setupSeed, m.Seed[8:])
	memory := e820(m.Memory)
	first := min(len(memory), maxE820*e820Size)
	clear(p[atE820 : atE820+maxE820*e820Size])
	copy(p[atE820:], memory[:first])
	p[atE820Entries] = byte(first / e820Size)
	if rest := memory[first:]; len(rest) > 0 {
		data(l.e820, setupE820Ext, rest)
	}
	m.EFI.put(p[atEFI:], at+l.efiMap)
	if m.EFI != nil {
		copy(p[l.efiMap:], m.EFI.regions())
		data(l.efiSetup, setupEFI, m.EFI.setup())
	}
	le.PutUint64(p[atSetupData:], list)
	return p
}

// e820 is the map as the boot parameters hold it: address u64, size u64, kind u32.
func e820(memory []E820) []byte {
	var out []byte
	for _, e := range memory {
		out = binary.LittleEndian.AppendUint64(out, e.Start)
		out = binary.LittleEndian.AppendUint64(out, e.size())
		out = binary.LittleEndian.AppendUint32(out, e.Kind)
	}
	return out
}
