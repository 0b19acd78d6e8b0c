package kexecplan

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/dt"
)

const mib = 1 << 20

// bzImage is a kernel as far as its header goes; change may damage it.
func bzImage(change func([]byte)) []byte {
	le := binary.LittleEndian
	k := make([]byte, 3*mib)
	for i := 40 * 512; i < len(k); i++ {
		k[i] = byte(i * 7)
	}
	k[atSetupSects] = 39
	le.PutUint16(k[atBootFlag:], 0xaa55)
	k[atHeaderEnd] = 0x6a
	copy(k[atMagic:], x86Magic)
	le.PutUint16(k[atVersion:], 0x020f)
	le.PutUint32(k[atInitrdMax:], 0x7fffffff)
	le.PutUint32(k[atAlignment:], 2*mib)
	k[atRelocatable] = 1
	le.PutUint16(k[atLoadFlags2:], 0x7f)
	le.PutUint32(k[atCmdlineMax:], 2047)
	le.PutUint64(k[atPreferred:], 16*mib)
	le.PutUint32(k[atInitSize:], 9*mib)
	if change != nil {
		change(k)
	}
	return k
}

// pc is the map of a QEMU machine with 512 MiB.
func pc() X86 {
	return X86{
		BootParams: bytes.Repeat([]byte{0x55}, zeroPage),
		Memory: []E820{
			{Range{0, 0x9fc00}, E820RAM}, {Range{0x9fc00, 0xa0000}, E820Reserved}, {Range{0xf0000, 0x100000}, E820Reserved},
			{Range{0x100000, 0x1ffdf000}, E820RAM}, {Range{0x1ffdf000, 0x20000000}, E820Reserved}, {Range{0xb0000000, 0xc0000000}, E820Reserved},
		},
		RSDP: 0xf52a0,
		Seed: bytes.Repeat([]byte{9}, 64),
	}
}

// checkPlan holds every plan to what kexec_load and the next kernel rely on.
func checkPlan(t testing.TB, p Plan, ram, reserved []Range) {
	t.Helper()
	entered := false
	for i, s := range p.Segments {
		r := Range{s.At, s.At + s.Size}
		if s.At%page != 0 || s.Size%page != 0 || uint64(len(s.Data)) > s.Size || s.At < mib || r.End < r.Start {
			t.Errorf("segment %d: %d bytes of data for %#x", i, len(s.Data), r)
		}
		within := false
		for _, m := range ram {
			within = within || m.Start <= r.Start && r.End <= m.End
		}
		for _, m := range reserved {
			within = within && !m.overlaps(r)
		}
		if !within {
			t.Errorf("segment %d at %#x is not in free memory", i, r)
		}
		for _, o := range p.Segments[:i] {
			if r.overlaps(Range{o.At, o.At + o.Size}) {
				t.Errorf("segment %d at %#x overlaps another", i, r)
			}
		}
		entered = entered || r.Start <= p.Entry && p.Entry < s.At+uint64(len(s.Data))
	}
	if !entered {
		t.Errorf("entered at %#x, where there is nothing", p.Entry)
	}
}

func ramOf(m []E820) (ram, reserved []Range) {
	for _, e := range m {
		if e.Kind == E820RAM {
			ram = append(ram, e.Range)
		} else {
			reserved = append(reserved, e.Range)
		}
	}
	return ram, reserved
}

// list walks the list of setup_data and returns it by kind.
func list(t *testing.T, params Segment) map[uint32][]byte {
	t.Helper()
	le := binary.LittleEndian
	found := map[uint32][]byte{}
	for at := le.Uint64(params.Data[atSetupData:]); at != 0; {
		d := params.Data[at-params.At:]
		found[le.Uint32(d[8:])] = d[setupDataHead : setupDataHead+le.Uint32(d[12:])]
		at = le.Uint64(d)
	}
	return found
}

func TestX86(t *testing.T) {
	le := binary.LittleEndian
	m, kernel, initrd := pc(), bzImage(nil), bytes.Repeat([]byte("initrd"), mib)
	p, err := m.Plan(kernel, initrd, "panic=10 quiet")
	if err != nil {
		t.Fatal(err)
	}
	ram, reserved := ramOf(m.Memory)
	checkPlan(t, p, ram, reserved)
	code, archive, params := p.Segments[0], p.Segments[1], p.Segments[2]
	if code.At != 16*mib || code.Size != 9*mib || !bytes.Equal(code.Data, kernel[40*512:]) {
		t.Errorf("the kernel: %d bytes at %#x in %#x", len(code.Data), code.At, code.Size)
	}
	if !bytes.Equal(archive.Data, initrd) || uint64(le.Uint32(params.Data[atInitrd:])) != archive.At || int(le.Uint32(params.Data[atInitrd+4:])) != len(initrd) {
		t.Errorf("the initrd at %#x: params %x", archive.At, params.Data[atInitrd:atInitrd+8])
	}
	at := uint64(le.Uint32(params.Data[atCmdline:])) - params.At
	if !bytes.HasPrefix(params.Data[at:], []byte("panic=10 quiet\x00")) {
		t.Errorf("the command line: %q", params.Data[at:at+20])
	}
	want := append(append([]byte{0x48, 0xbe}, le.AppendUint64(nil, params.At)...), append(append([]byte{0x48, 0xb8}, le.AppendUint64(nil, code.At+0x200)...), 0xff, 0xe0)...)
	if got := params.Data[p.Entry-params.At:]; !bytes.HasPrefix(got, want) {
		t.Errorf("the code that enters it: %x", got[:len(want)])
	}
	if !bytes.Equal(params.Data[atMagic:atMagic+4], x86Magic) || params.Data[atSentinel] != 0 || params.Data[atLoader] != kexecLoader || params.Data[0] != 0x55 {
		t.Error("the boot parameters are not those of this kernel on this machine")
	}
	if n := int(params.Data[atE820Entries]); n != len(m.Memory) || le.Uint64(params.Data[atE820+3*e820Size:]) != 0x100000 || le.Uint64(params.Data[atE820+3*e820Size+8:]) != 0x1fedf000 {
		t.Errorf("%d lines of memory", n)
	}
	if d := list(t, params); len(d) != 1 || !bytes.Equal(d[setupSeed], m.Seed[8:]) {
		t.Errorf("params besides: %x", d)
	}
	if !bytes.Equal(params.Data[atEFI:atEFI+efiInfoSize], make([]byte, efiInfoSize)) {
		t.Error("a machine without EFI is params of one")
	}
}

func TestX86EFIAndMuchMemory(t *testing.T) {
	le := binary.LittleEndian
	m := pc()
	m.EFI = &EFI{Vendor: 0x1fe00018, ConfigTable: 0x1fe00100, SMBIOS: 0x1fd00000, Runtime: []EFIRegion{
		{Kind: 5, Physical: 0x1fe00000, Virtual: 0xfffffffeffa00000, Pages: 16, Attribute: 0x800000000000000f}, {Kind: 6, Physical: 0x1fd00000, Virtual: 0xfffffffeff900000, Pages: 3, Attribute: 15}}}
	for i := range uint64(200) {
		m.Memory = append(m.Memory, E820{Range{1<<36 + i<<21, 1<<36 + i<<21 + mib}, E820RAM})
	}
	p, err := m.Plan(bzImage(nil), make([]byte, 5000), "x")
	if err != nil {
		t.Fatal(err)
	}
	ram, reserved := ramOf(m.Memory)
	checkPlan(t, p, ram, reserved)
	params := p.Segments[2]
	d := list(t, params)
	if params.Data[atE820Entries] != maxE820 || len(d[setupE820Ext]) != (len(m.Memory)-maxE820)*e820Size || le.Uint64(d[setupE820Ext]) != m.Memory[maxE820].Start {
		t.Errorf("%d lines of memory, %d bytes more", params.Data[atE820Entries], len(d[setupE820Ext]))
	}
	if s := d[setupEFI]; len(s) != 96 || le.Uint64(s) != m.EFI.Vendor || le.Uint64(s[16:]) != m.EFI.ConfigTable || le.Uint64(s[24:]) != m.EFI.SMBIOS {
		t.Errorf("EFI: %x", s)
	}
	info := params.Data[atEFI:]
	at := uint64(le.Uint32(info[efiMapLow:])) | uint64(le.Uint32(info[efiMapHigh:]))<<32
	r := params.Data[at-params.At:]
	if le.Uint32(info[efiMapSize:]) != 80 || le.Uint32(info[efiRegionBytes:]) != 40 || le.Uint32(info) != 0x55555555 ||
		le.Uint32(r) != 5 || le.Uint64(r[8:]) != 0x1fe00000 || le.Uint64(r[16:]) != 0xfffffffeffa00000 || le.Uint64(r[24:]) != 16 || le.Uint64(r[40+32:]) != 15 {
		t.Errorf("the firmware's memory: %x, %x", info[:efiInfoSize], r[:80])
	}
}

func TestX86Refuses(t *testing.T) {
	le := binary.LittleEndian
	put16 := func(at int, v uint16) func([]byte) { return func(k []byte) { le.PutUint16(k[at:], v) } }
	put32 := func(at int, v uint32) func([]byte) { return func(k []byte) { le.PutUint32(k[at:], v) } }
	for _, c := range []struct {
		name, words string
		kernel      []byte
		initrd      int
		cmdline     string
		machine     func(*X86)
	}{
		{"an ELF file", "no setup header", []byte("\x7fELF" + strings.Repeat("x", 8192)), 1, "", nil},
		{"nothing", "no setup header", nil, 1, "", nil},
		{"an old protocol", "2.05", bzImage(put16(atVersion, 0x0205)), 1, "", nil},
		{"32 bits", "64-bit", bzImage(put16(atLoadFlags2, 0)), 1, "", nil},
		{"a cut", "cut off", bzImage(nil)[:40*512], 1, "", nil},
		{"a header that ends nowhere", "ends at", bzImage(func(k []byte) { k[atHeaderEnd] = 0xff }), 1, "", nil},
		{"less memory than its file", "larger than", bzImage(put32(atInitSize, mib)), 1, "", nil},
		{"all memory", "at most", bzImage(put32(atInitSize, 0xffffffff)), 1, "", nil},
		{"an odd alignment", "aligned", bzImage(put32(atAlignment, 3*mib)), 1, "", nil},
		{"a long command line", "2048 bytes", bzImage(nil), 1, strings.Repeat("x", 2048), nil},
		{"an initrd larger than memory", "an initrd", bzImage(nil), 600 * mib, "", nil},
		{"no memory", "an initrd", bzImage(nil), 1, "", func(m *X86) { m.Memory = nil }},
		{"little memory", "a kernel", bzImage(nil), 1, "", func(m *X86) { m.Memory[3].End = 6 * mib }},
		{"no seed", "seed", bzImage(nil), 1, "", func(m *X86) { m.Seed = nil }},
		{"no parameters", "boot parameters", bzImage(nil), 1, "", func(m *X86) { m.BootParams = nil }},
	} {
		m := pc()
		if c.machine != nil {
			c.machine(&m)
		}
		if _, err := m.Plan(c.kernel, make([]byte, c.initrd), c.cmdline); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// image is an arm64 kernel as far as its header goes.
func image(offset, size uint64) []byte {
	k := bytes.Repeat([]byte("kernel!!"), mib/8)
	binary.LittleEndian.PutUint64(k[atTextOffset:], offset)
	binary.LittleEndian.PutUint64(k[atImageSize:], size)
	copy(k[atARM64Magic:], arm64Magic)
	return k
}

func board(t testing.TB) ARM64 {
	chosen := dt.NewNode("chosen", dt.WithProperty(dt.PropertyString("bootargs", "old"), dt.PropertyU64("linux,uefi-system-table", 0x5bfd0018), dt.PropertyU64("linux,elfcorehdr", 1)))
	tree := dt.FDT{RootNode: dt.NewNode("", dt.WithChildren(chosen)), Header: dt.Header{Magic: dt.Magic, Version: 17, LastCompVersion: 16}}
	var out bytes.Buffer
	if _, err := tree.Write(&out); err != nil {
		t.Fatal(err)
	}
	return ARM64{
		DeviceTree: out.Bytes(), RAM: []Range{{0x40000000, 0x60000000}}, Reserved: []Range{{0x40000000, 0x40200000}, {0x5f000000, 0x5f800000}},
		Seed: bytes.Repeat([]byte{7}, 64),
	}
}

func TestARM64(t *testing.T) {
	m, initrd := board(t), bytes.Repeat([]byte("initrd"), mib)
	for _, offset := range []uint64{0, 0x80000} {
		kernel := image(offset, 3*mib)
		p, err := m.Plan(kernel, initrd, "panic=10")
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, p, m.RAM, m.Reserved)
		code, archive, params := p.Segments[0], p.Segments[1], p.Segments[2]
		if code.At != 0x40200000+offset || code.Size != 3*mib || !bytes.Equal(code.Data, kernel) || !bytes.Equal(archive.Data, initrd) {
			t.Errorf("the kernel at %#x in %#x", code.At, code.Size)
		}
		enter := params.Data[p.Entry-params.At:]
		if binary.LittleEndian.Uint64(enter[24:]) != code.At || binary.LittleEndian.Uint64(enter[32:]) != params.At {
			t.Errorf("the code that enters it: %x", enter)
		}
		tree, err := dt.ReadFDT(bytes.NewReader(params.Data))
		if err != nil {
			t.Fatal(err)
		}
		chosen, _ := tree.NodeByName("chosen")
		value := func(name string) []byte {
			if p, ok := chosen.LookProperty(name); ok {
				return p.Value
			}
			return nil
		}
		be := binary.BigEndian
		if be.Uint64(value("linux,initrd-start")) != archive.At || be.Uint64(value("linux,initrd-end")) != archive.At+uint64(len(initrd)) ||
			string(value("bootargs")) != "panic=10\x00" || be.Uint64(value("linux,uefi-system-table")) != 0x5bfd0018 || value("linux,elfcorehdr") != nil ||
			len(value("kaslr-seed")) != 8 || len(value("rng-seed")) != 56 {
			t.Errorf("params: %v", chosen)
		}
	}
}

func TestARM64Refuses(t *testing.T) {
	for _, c := range []struct {
		name, words string
		kernel      []byte
		machine     func(*ARM64)
	}{
		{"a compressed kernel", "compressed", bytes.Repeat([]byte{0x28, 0xb5, 0x2f, 0xfd}, 100), nil},
		{"less memory than its file", "cannot be", image(0, 1000), nil},
		{"all memory", "cannot be", image(0, 1<<62), nil},
		{"an odd offset", "cannot be", image(1000, 3*mib), nil},
		{"a large kernel", "a kernel", image(0, 900*mib), nil},
		{"no tree", "device tree", image(0, 3*mib), func(m *ARM64) { m.DeviceTree = []byte("none") }},
		{"no seed", "seed", image(0, 3*mib), func(m *ARM64) { m.Seed = nil }},
		{"no memory", "a kernel", image(0, 3*mib), func(m *ARM64) { m.RAM = nil }},
	} {
		m := board(t)
		if c.machine != nil {
			c.machine(&m)
		}
		if _, err := m.Plan(c.kernel, make([]byte, 5000), ""); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestKernelMemory(t *testing.T) {
	for _, c := range []struct {
		kernel []byte
		want   int64
	}{{bzImage(nil), 9 * mib}, {image(0, 3*mib), 3 * mib}, {make([]byte, 8192), -1}, {nil, -1}} {
		got, err := KernelMemory(bytes.NewReader(c.kernel))
		if err != nil && c.want >= 0 || err == nil && got != c.want {
			t.Errorf("%d bytes, %v, want %d", got, err, c.want)
		}
	}
}

// Whatever a kernel's header and the maps say, a plan is sound or there is none.
func FuzzPlan(f *testing.F) {
	f.Add(bzImage(nil)[:zeroPage], uint32(5000), uint64(0x100000), uint64(0x1fe00000), uint64(0x8000000), uint64(mib))
	f.Add(image(0, 3*mib)[:64], uint32(1), uint64(0x40000000), uint64(0x20000000), uint64(0x40000000), uint64(mib))
	f.Fuzz(func(t *testing.T, head []byte, initrd uint32, start, size, hole, holeSize uint64) {
		ram := Range{start % (1 << 40), start%(1<<40) + size%(1<<36)}
		bad := Range{hole % (1 << 40), hole%(1<<40) + holeSize%(1<<36)}
		kernel := append(bytes.Clone(head), make([]byte, mib)...)
		archive := make([]byte, initrd%(8*mib))
		x := pc()
		x.Memory = []E820{{ram, E820RAM}, {bad, E820Reserved}}
		if p, err := x.Plan(kernel, archive, "x"); err == nil {
			checkPlan(t, p, []Range{ram}, []Range{bad})
		}
		a := board(t)
		a.RAM, a.Reserved = []Range{ram}, []Range{bad}
		if p, err := a.Plan(kernel, archive, "x"); err == nil {
			checkPlan(t, p, []Range{ram}, []Range{bad})
		}
	})
}
