package kexec

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/machine/initrd"
)

// initramfs is a compressed archive with these files, as images makes one.
func initramfs(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var list []initrd.File
	for name, content := range files {
		list = append(list, initrd.File{Name: name, Size: int64(len(content)), Program: true})
	}
	l, err := initrd.NewLayout(0, list)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "archive")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	if err := l.WriteFrame(f); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		at, _, _ := l.Offset(name)
		if _, err := f.WriteAt([]byte(content), at); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, data)
}

func packed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestFirstOf: the small init is taken out of an initramfs whole, and what is none
// is refused.
func TestFirstOf(t *testing.T) {
	const program = "the small init"
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"an initramfs":      {initramfs(t, map[string]string{"dev/x": "x", "init": program}), ""},
		"one without init":  {initramfs(t, map[string]string{"dev/x": "x"}), "it has no init"},
		"nothing":           {nil, "EOF"},
		"not compressed":    {[]byte("070701 and so on"), "invalid header"},
		"no archive":        {packed(t, []byte(strings.Repeat("x", 1000))), ""},
		"one without end":   {packed(t, make([]byte, maxFirst+1)), "unpacks to more than 16 MiB"},
		"one that is short": {initramfs(t, map[string]string{"init": program})[:60], "EOF"},
	} {
		path := filepath.Join(t.TempDir(), "initramfs.img")
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := firstOf(path)
		if name == "an initramfs" {
			if err != nil || string(got) != program {
				t.Errorf("%q, %v", got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := firstOf("/nowhere"); err == nil {
		t.Error("a file that is not there")
	}
}

// FuzzFirst states: whatever the file holds, there is a program or an error, and
// never more memory than the limit.
func FuzzFirst(f *testing.F) {
	f.Add(initramfs(f, map[string]string{"init": "x"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if program, err := initOf(bytes.NewReader(data)); err == nil && len(program) > maxFirst {
			t.Errorf("%d bytes", len(program))
		}
	})
}
