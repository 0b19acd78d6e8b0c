package kexec

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/refusal"
	"phase/appliance/machine/kexecplan"
	"phase/appliance/machine/linux"
)

// pinnedKernel is the x86_64 kernel that images are built with.
func pinnedKernel(t *testing.T) linux.Part {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gokrazy/kernel.amd64").Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "vmlinuz"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return linux.Part{File: f, Size: info.Size()}
}

func readPart(t *testing.T, f *os.File) []byte {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return data
}

// The kernel that images are built with is unpacked as it would do it itself:
// every word that its own code would move has moved, all by the same, and
// nothing else has changed.
func TestUnpackInside(t *testing.T) {
	kernel := pinnedKernel(t)
	packed, ok := kexecplan.FindPacked(io.NewSectionReader(kernel.File, 0, kernel.Size), kernel.Size)
	if !ok {
		t.Fatal("this kernel carries none that is packed")
	}
	f, err := unpackInside(kernel, packed, "panic=10 nokaslr")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	still := readPart(t, f)
	head := make([]byte, packed.Head)
	if _, err := kernel.File.ReadAt(head, 0); err != nil || !bytes.Equal(still[:packed.Head], head) {
		t.Errorf("the setup header changed (%v)", err)
	}
	file, err := elf.NewFile(bytes.NewReader(still[packed.Head:]))
	if err != nil {
		t.Fatal(err)
	}

	seen := map[uint64]bool{}
	for range 4 {
		f, err := unpackInside(kernel, packed, "panic=10")
		if err != nil {
			t.Fatal(err)
		}
		moved := readPart(t, f)
		f.Close()
		seen[settle(t, file, still[packed.Head:], moved[packed.Head:])] = true
	}
	if len(seen) < 2 {
		t.Errorf("four kernels were all moved by the same: %v", seen)
	}
}

// A machine with plenty of memory unpacks the kernel before it jumps; one
// without loads it as it was signed.
func TestUnpackWherePlenty(t *testing.T) {
	kernel := pinnedKernel(t)
	artifacts := contents()
	artifacts["kernel"] = make([]byte, kernel.Size)
	if _, err := kernel.File.ReadAt(artifacts["kernel"], 0); err != nil {
		t.Fatal(err)
	}
	v := sign(t, artifacts, nil)
	need := NeedOf(guess("x86_64", kernel.Size, kernel.Size+200_000)).Load
	for _, c := range []struct {
		free     int64
		unpacked bool
	}{{need + 70*mib, false}, {need + 150*mib, true}} {
		k := &loader{}
		var asked []string
		o := machine(k, &asked)
		o.Memory = func() (linux.Memory, error) { return linux.Memory{Total: 4 << 30, Available: c.free}, nil }
		s, err := Stage(t.Context(), v, o)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, artifacts)
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if unpacked := !bytes.Equal(k.kernel, artifacts["kernel"]); unpacked != c.unpacked {
			t.Errorf("with %d MiB more than the load takes the kernel is unpacked: %v", (c.free-need)/mib, unpacked)
		}
		if len(asked) != 0 {
			t.Errorf("services were asked to %q for it", asked)
		}
	}
}

// The kernel's own bound, half of the memory, is said in words and not by it.
func TestHalfOfTheMemory(t *testing.T) {
	kernel := pinnedKernel(t)
	artifacts := contents()
	artifacts["kernel"] = make([]byte, kernel.Size)
	if _, err := kernel.File.ReadAt(artifacts["kernel"], 0); err != nil {
		t.Fatal(err)
	}
	memory, err := kexecplan.KernelMemory(io.NewSectionReader(kernel.File, 0, kernel.Size))
	if err != nil {
		t.Fatal(err)
	}
	for _, enough := range []bool{true, false} {
		k := &loader{}
		var asked []string
		o := machine(k, &asked)
		s, err := Stage(t.Context(), sign(t, artifacts, nil), o)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, artifacts)
		total := 2 * (memory + s.layout.Size())
		if !enough {
			total--
		}
		s.options.Memory = func() (linux.Memory, error) { return linux.Memory{Total: total, Available: 2 << 30}, nil }
		switch err := s.Load(t.Context()); {
		case enough && err != nil:
			t.Error(err)
		case !enough && (refusal.CodeOf(err) != refusal.Busy || !strings.Contains(err.Error(), "half") || len(asked) != 0 || k.kernel != nil):
			t.Errorf("with less: %v, asked %q", err, asked)
		}
	}
}

// settle moves a kernel as Linux's own code does, backwards from its end, and
// compares. It returns how far it was moved.
func settle(t *testing.T, file *elf.File, still, moved []byte) (by uint64) {
	t.Helper()
	le := binary.LittleEndian
	want := bytes.Clone(still)
	at := len(want) - 4
	for _, width := range []int{4, 8} {
		for ; le.Uint32(still[at:]) != 0; at -= 4 {
			address := uint64(int64(int32(le.Uint32(still[at:]))))
			for _, p := range file.Progs {
				if p.Type != elf.PT_LOAD || address < p.Vaddr || address >= p.Vaddr+p.Filesz {
					continue
				}
				word := p.Off + address - p.Vaddr
				if by == 0 && width == 4 {
					by = uint64(le.Uint32(moved[word:]) - le.Uint32(still[word:]))
				}
				if width == 4 {
					le.PutUint32(want[word:], le.Uint32(still[word:])+uint32(by))
				} else {
					le.PutUint64(want[word:], le.Uint64(still[word:])+by)
				}
			}
		}
		at -= 4
	}
	if by%(2*mib) != 0 || by >= 1<<30 {
		t.Errorf("moved by %#x", by)
	}
	if !bytes.Equal(moved, want) {
		t.Error("the kernel is not moved as it would move itself")
	}
	return by
}

// A kernel in a packing that is not known here is loaded as it is.
func TestUnpackInsideUnknown(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "kernel"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Repeat([]byte("\xfd7zXZ\x00"), 2000)); err != nil {
		t.Fatal(err)
	}
	got, err := unpackInside(linux.Part{File: f, Size: 12_000}, kexecplan.Packed{Head: 600, At: 600, Size: 6000, Unpacked: 9000}, "")
	if got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// What comes out must be as much as the kernel's header says.
func TestInflateExactly(t *testing.T) {
	kernel := pinnedKernel(t)
	packed, _ := kexecplan.FindPacked(io.NewSectionReader(kernel.File, 0, kernel.Size), kernel.Size)
	for _, by := range []int64{-1, 1} {
		wrong := packed
		wrong.Unpacked += by
		if f, err := unpackInside(kernel, wrong, ""); err == nil {
			f.Close()
			t.Errorf("%d bytes too many or too few are taken", by)
		}
	}
	wrong := packed
	wrong.Size /= 2
	if f, err := unpackInside(kernel, wrong, ""); err == nil {
		f.Close()
		t.Error("half a kernel is taken")
	}
}
