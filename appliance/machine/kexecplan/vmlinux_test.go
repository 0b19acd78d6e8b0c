package kexecplan

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// unpacked is a small kernel as FindPacked and its caller leave it: two parts,
// one word of each width that moves, and the lists that say so.
func unpacked(change func(*elf.Header64, []elf.Prog64)) []byte {
	le := binary.LittleEndian
	k := bzImage(nil)[:40*512]
	e := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: 18*mib + 0x30,
		Phoff: elfHeaderSize, Phentsize: elfProgSize, Phnum: 3, Shentsize: elfSectionSize,
	}
	copy(e.Ident[:], elf.ELFMAG)
	e.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	progs := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Off: 0x1000, Vaddr: kernelMap + 16*mib, Paddr: 16 * mib, Filesz: 0x800, Memsz: 0x800},
		{Type: uint32(elf.PT_LOAD), Off: 0x2000, Vaddr: kernelMap + 18*mib, Paddr: 18 * mib, Filesz: 0x400, Memsz: mib},
		{Type: uint32(elf.PT_NOTE), Off: 0x1000, Paddr: 99},
	}
	e.Shoff = 0x2400
	if change != nil {
		change(&e, progs)
	}
	var image bytes.Buffer
	for _, v := range []any{e, progs} {
		if err := binary.Write(&image, le, v); err != nil {
			panic(err)
		}
	}
	body := append(image.Bytes(), make([]byte, 0x2400-image.Len())...)
	le.PutUint64(body[0x1010:], kernelMap+16*mib+0x10)
	le.PutUint32(body[0x2020:], 0x81000000) // the low half of an address
	for _, word := range []uint32{0, 0x81000010, 0, 0x81200020} {
		body = le.AppendUint32(body, word)
	}
	return append(k, body...)
}

func TestUnpackedKernel(t *testing.T) {
	le := binary.LittleEndian
	kernel := unpacked(nil)
	if err := Move(kernel, 3); err != nil {
		t.Fatal(err)
	}
	image := kernel[40*512:]
	// The kernel has 9 MiB and begins at 16 MiB, each place 2 MiB after the last.
	if wide, narrow := le.Uint64(image[0x1010:]), le.Uint32(image[0x2020:]); wide != kernelMap+22*mib+0x10 || narrow != 0x81600000 {
		t.Errorf("moved by three places the words are %#x and %#x", wide, narrow)
	}
	if kernel[atLoadFlags]&movedFlag == 0 {
		t.Error("the kernel is not params that its address was drawn")
	}
	starts := map[uint64]bool{}
	for i := range byte(20) {
		m := pc()
		m.Seed[0] = i
		p, err := m.Plan(kernel, make([]byte, 5*mib), "panic=10")
		if err != nil {
			t.Fatal(err)
		}
		ram, reserved := ramOf(m.Memory)
		checkPlan(t, p, ram, reserved)
		if len(p.Segments) != 4 {
			t.Fatalf("%d segments", len(p.Segments))
		}
		text, data, params := p.Segments[0], p.Segments[1], p.Segments[3]
		if text.At%(2*mib) != 0 || text.At < 16*mib || data.At != text.At+2*mib || text.Size+data.Size != 9*mib {
			t.Errorf("the parts lie at %#x and %#x", text.At, data.At)
		}
		if !bytes.Equal(text.Data, image[0x1000:0x1800]) || !bytes.Equal(data.Data, image[0x2000:0x2400]) {
			t.Error("the parts are not those of the file")
		}
		if enter := enterX86(data.At+0x30, params.At); !bytes.HasPrefix(params.Data[p.Entry-params.At:], enter) {
			t.Errorf("it is entered by %x", params.Data[p.Entry-params.At:][:len(enter)])
		}
		if !bytes.Equal(params.Data[atMagic:atMagic+4], x86Magic) || params.Data[atLoadFlags]&movedFlag == 0 {
			t.Error("the boot parameters are not those of this kernel")
		}
		starts[text.At] = true
	}
	if len(starts) < 10 {
		t.Errorf("20 kernels lie in %d places", len(starts))
	}
}

// The last place there is ends where the kernel's addresses do, and the next
// random number begins again.
func TestMoveStaysInReach(t *testing.T) {
	const slots = (maxReach-16*mib-9*mib)/(2*mib) + 1
	for random, want := range map[uint64]uint64{0: 0, slots - 1: (slots - 1) * 2 * mib, slots: 0} {
		kernel := unpacked(nil)
		if err := Move(kernel, random); err != nil {
			t.Fatal(err)
		}
		if by := binary.LittleEndian.Uint64(kernel[40*512+0x1010:]) - (kernelMap + 16*mib + 0x10); by != want {
			t.Errorf("moved by %#x for %d, want %#x", by, random, want)
		}
	}
}

func TestUnpackedRefuses(t *testing.T) {
	for _, c := range []struct {
		name, words string
		change      func(*elf.Header64, []elf.Prog64)
	}{
		{"another machine", "no x86_64", func(e *elf.Header64, _ []elf.Prog64) { e.Machine = 183 }},
		{"a table beyond the end", "no x86_64", func(e *elf.Header64, _ []elf.Prog64) { e.Phoff = 1 << 40 }},
		{"a part elsewhere", "not where", func(_ *elf.Header64, p []elf.Prog64) { p[0].Paddr = 17 * mib }},
		{"no part", "0 parts", func(_ *elf.Header64, p []elf.Prog64) { p[0].Type, p[1].Type = 4, 4 }},
		{"a part beyond the file", "cannot be", func(_ *elf.Header64, p []elf.Prog64) { p[1].Filesz = 0x10000 }},
		{"a part beyond its memory", "cannot be", func(_ *elf.Header64, p []elf.Prog64) { p[1].Memsz = 8 * mib }},
		{"parts that overlap", "cannot be", func(_ *elf.Header64, p []elf.Prog64) { p[0].Memsz = 3 * mib }},
		{"an odd address", "cannot be", func(_ *elf.Header64, p []elf.Prog64) { p[1].Paddr += page }},
		{"an entry outside", "entered at", func(e *elf.Header64, _ []elf.Prog64) { e.Entry = 16*mib + 0x900 }},
		{"a cut", "cut off", func(e *elf.Header64, _ []elf.Prog64) { e.Shoff = 0x2500 }},
	} {
		kernel := unpacked(c.change)
		if err := Move(kernel, 1); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s, moved: %v", c.name, err)
		}
		if _, err := pc().Plan(kernel, nil, ""); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s, loaded: %v", c.name, err)
		}
	}
	le := binary.LittleEndian
	for name, lists := range map[string][]uint32{
		"none": {}, "an older kernel's": {0, 0x81000010, 0, 0x81000010, 0, 0x81200020}, "one": {0, 0x81000010},
		"one outside": {0, 0x81000801, 0}, "one that ends outside": {0, 0x810007fc, 0}, "none at the beginning": {1, 0, 0},
	} {
		kernel := unpacked(nil)[:40*512+0x2400]
		for _, w := range lists {
			kernel = le.AppendUint32(kernel, w)
		}
		if err := Move(kernel, 1); err == nil || !strings.Contains(err.Error(), "relocation") {
			t.Errorf("relocations, %s: %v", name, err)
		}
	}
}

func TestFindPacked(t *testing.T) {
	le := binary.LittleEndian
	kernel := bzImage(func(k []byte) {
		le.PutUint32(k[atPayload:], 0x2c4)
		le.PutUint32(k[atPayloadLength:], 100_004)
		le.PutUint32(k[40*512+0x2c4+100_000:], 8*mib)
	})
	if p, ok := FindPacked(bytes.NewReader(kernel), int64(len(kernel))); !ok || p != (Packed{Head: 40 * 512, At: 40*512 + 0x2c4, Size: 100_000, Unpacked: 8 * mib}) {
		t.Errorf("found %+v, %v", p, ok)
	}
	for name, change := range map[string]func(k []byte){
		"nothing":               func(k []byte) { le.PutUint32(k[atPayloadLength:], 0) },
		"more than the file":    func(k []byte) { le.PutUint32(k[atPayloadLength:], 0xffffffff) },
		"less than it was":      func(k []byte) { le.PutUint32(k[40*512+0x2c4+100_000:], 1000) },
		"more than its memory":  func(k []byte) { le.PutUint32(k[40*512+0x2c4+100_000:], 10*mib) },
		"far behind the kernel": func(k []byte) { le.PutUint32(k[atPayload:], 0xfffffff0) },
	} {
		k := slices.Clone(kernel)
		change(k)
		if p, ok := FindPacked(bytes.NewReader(k), int64(len(k))); ok {
			t.Errorf("%s: found %+v", name, p)
		}
	}
}

// Whatever an unpacked kernel says of itself, it is moved within its bytes and
// its plan is sound, or neither is done.
func FuzzUnpacked(f *testing.F) {
	kernel := unpacked(nil)
	f.Add(kernel[40*512:][:elfHeaderSize+3*elfProgSize], kernel[40*512+0x2400:], uint64(5))
	f.Fuzz(func(t *testing.T, head, tail []byte, random uint64) {
		k := append(slices.Clone(kernel[:40*512+0x2400]), tail...)
		copy(k[40*512:], head)
		_ = Move(k, random)
		m := pc()
		binary.LittleEndian.PutUint64(m.Seed, random)
		if p, err := m.Plan(k, make([]byte, mib), "x"); err == nil {
			ram, reserved := ramOf(m.Memory)
			checkPlan(t, p, ram, reserved)
		}
	})
}
