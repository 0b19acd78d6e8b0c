package scripts

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"phase/images"
	"phase/tests/storetest"
)

// modules makes a folder of WebAssembly modules: hello.wasm of examples/hello;
// trap.wasm, which ends at once by a trap; spin.wasm, which does not end; and
// least.wasm, which does nothing.
func modules(t *testing.T, dir string) {
	t.Helper()
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "hello.wasm"), "phase/examples/hello")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the example: %v: %s", err, out)
	}
	for name, code := range map[string]string{
		"trap.wasm":  "\x0a\x05\x01\x03\x00\x00\x0b",                 // (func unreachable)
		"spin.wasm":  "\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b", // (func (loop br 0))
		"least.wasm": "\x0a\x04\x01\x02\x00\x0b",                     // (func)
	} {
		head := "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x08\x01\x00" // (start 0)
		write(t, filepath.Join(dir, name), head+code)
	}
}

// releases makes folders as `plasmd serve` reads them, all for stable and
// arm64: good has version 7, old version 6, of the same keys; forged has
// version 9, under keys of a stranger; mixed is that with the root of good; in
// damaged a byte of the kernel is another. The keys of good are in keys.
func releases(t *testing.T, dir string) {
	t.Helper()
	keysDir := filepath.Join(dir, "keys")
	if _, err := images.MakeKeys(keysDir, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	key, trusted, err := images.LoadKeys(keysDir)
	if err != nil {
		t.Fatal(err)
	}
	signer, stranger := storetest.SignerOf(t, trusted.Last().Raw(), key), storetest.NewSigner(t)
	good := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	signer.Write(t, filepath.Join(dir, "good"), good)
	signer.Write(t, filepath.Join(dir, "old"), signer.Release(t, "stable", "arm64", 6, storetest.Sizes))
	forged := stranger.Release(t, "stable", "arm64", 9, storetest.Sizes)
	stranger.Write(t, filepath.Join(dir, "forged"), forged)
	stranger.Write(t, filepath.Join(dir, "mixed"), forged)
	write(t, filepath.Join(dir, "mixed", "root", "1.json"), string(signer.Root.Raw()))
	signer.Write(t, filepath.Join(dir, "damaged"), good)
	kernel := append([]byte(nil), good.Bytes["kernel"]...)
	kernel[100] ^= 1
	write(t, filepath.Join(dir, "damaged", "stable", "arm64", "vmlinuz"), string(kernel))
}

// pieces makes a folder of pieces as `images build` compiles them, small: the
// program in all four places is that of the initramfs, and the rest is some bytes.
func pieces(t *testing.T, dir string) {
	t.Helper()
	program := filepath.Join(dir, "gok", "initramfs-init")
	build := exec.Command("go", "build", "-ldflags=-s -w -buildid=", "-o", program, "phase/init/initramfs")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building a program: %v: %s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"rootfs/gokrazy/init": string(data), "rootfs/user/phase": string(data), "rootfs/user/phase-worker": string(data),
		"rootfs/etc/group": "group", "rootfs/etc/hostname": "phase", "rootfs/etc/hosts": "hosts", "rootfs/etc/passwd": "passwd",
		"kernel": "kernel", "kernel.zst": "compressed", "initramfs.img": "initramfs", "perm.ext4": "empty", "mbr": "loader", "boot.efi": "loader",
		"pieces.json": `{"arch":"arm64","time":"2026-11-23T12:00:00Z"}`,
		"origin.json": `{"name":"thirty","commit":"c0ffee","modified":false,"go":"go1.26.3",
			"kernel":{"linux":"7.1.3","module":"example.org/kernel","version":"v0.0.1","sum":"h1:a2VybmVs"},"tools":[{"name":"mksquashfs","version":"4.5.1"}]}`,
	} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, at, text)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
