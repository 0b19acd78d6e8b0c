package images

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"phase/appliance/base/envelope"
	"phase/appliance/base/strictjson"
)

// download is a folder as somebody downloads it: image, compressed, with the
// signed list, and the root that is known.
type download struct {
	Spec
	dir, zst, list, root string
}

func newDownload(t *testing.T, key ed25519.PrivateKey) download {
	t.Helper()
	dir := t.TempDir()
	d := download{Spec: spec(t, handmade(t, "x86_64"), dir), dir: dir}
	d.Disk = filepath.Join(dir, "phase-x86_64.img")
	d.zst, d.list, d.root = d.Disk+zstdSuffix, filepath.Join(dir, listFile), filepath.Join(t.TempDir(), "root.json")
	d.Zstd, d.Netboot = d.zst, filepath.Join(dir, "netboot/x86_64")
	assemble(t, d.Spec)
	if key == nil {
		key = d.Key
	}
	if err := ListImages(t.Context(), dir, "stable", d.Roots.Last(), key); err != nil {
		t.Fatal(err)
	}
	write(t, d.root, d.Roots.Last().Raw())
	return d
}

// What is downloaded is flashed as what was built, with a root and settings; a
// download may have another name.
func TestFlashDownload(t *testing.T) {
	need(t, "sgdisk", "fsck.fat", "e2fsck", "unsquashfs")
	d := newDownload(t, nil)
	if err := os.Rename(d.zst, filepath.Join(d.dir, "phase-x86_64.img(1).zst")); err != nil {
		t.Fatal(err)
	}
	file := stick(t, 200<<20)
	peer := "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	_, log, code := runImages("flash", filepath.Join(d.dir, "phase-x86_64.img(1).zst"), file, "--force", "--root", d.root,
		"--mode", "local", "--channel", "testing", "--ip", "192.0.2.7/24,192.0.2.1", "--bootstrap", "/ip4/192.0.2.1/tcp/7420", "--bootstrap", "/ip4/192.0.2.2/tcp/7420",
		"--admin", peer, "--set", "phase.update=off")
	if code != 0 || !strings.Contains(log, "version 42 (a test), signature verified") {
		t.Fatalf("exit code %d: %s", code, log)
	}
	r := inspected(t, file, d.Roots.Last())
	if want := "phase.update=off phase.mode=local phase.channel=testing phase.ip=192.0.2.7/24,192.0.2.1 phase.bootstrap=/ip4/192.0.2.1/tcp/7420,/ip4/192.0.2.2/tcp/7420 phase.admin=" + peer; strings.Join(r.Settings, " ") != want {
		t.Errorf("settings %v", r.Settings)
	}
	// The image as it was built, when somebody asks who signed it.
	if _, log, code := runImages("flash", d.Disk, file, "--force", "--root", d.root); code != 0 || !strings.Contains(log, "signature verified") {
		t.Errorf("exit code %d: %s", code, log)
	}
	if out, log, code := runImages("inspect", d.list, "--root", d.root); code != 0 || !strings.Contains(out, "signature verified") || !strings.Contains(out, "netboot/x86_64/initrd") {
		t.Errorf("exit code %d: %s%s", code, out, log)
	}
}

// What is not known to be what was signed is not written.
func TestFlashDownloadRefusals(t *testing.T) {
	whole := newDownload(t, nil)
	packed := read(t, whole.zst)
	_, _, others := testKeys(t, 12)
	stranger := filepath.Join(t.TempDir(), "root.json")
	write(t, stranger, others.Last().Raw())
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 1
	rootKey := func() ed25519.PrivateKey { _, key, _ := testKeys(t, 9); return key }()
	byRoot := signedList(t, rootKey, read(t, whole.list))
	for name, c := range map[string]struct {
		image []byte // of the file; nil: as it was
		list  []byte // nil: as it was; empty: none
		root  string
		size  int64
		says  string
	}{
		"truncated":             {image: packed[:len(packed)-1000], says: "not complete"},
		"damaged":               {image: flipped, says: "not what was signed"},
		"another file":          {image: compressed(t, []byte("another")), says: "not complete"},
		"no signature":          {list: []byte{}, says: "--signature"},
		"a stranger's":          {root: stranger, says: "no key of role"},
		"no root":               {root: whole.root + "x", says: "--root"},
		"signed by the root":    {list: byRoot, says: "no key of role"},
		"a manifest as a list":  {list: read(t, filepath.Join(whole.Release, "stable/x86_64/manifest.json")), says: ListType},
		"too small a stick":     {size: 8 << 20, says: "take a larger disk"},
		"of another channel":    {list: signedList(t, whole.Key, bytes.Replace(payloadOf(t, read(t, whole.list)), []byte(`"stable"`), []byte(`"nightly"`), 1)), says: "of channel stable"},
		"a list of other files": {list: signedList(t, whole.Key, []byte(`{"channel":"stable","files":[]}`)), says: "none of the 0 files"},
	} {
		image, list := filepath.Join(t.TempDir(), "phase-x86_64.img.zst"), read(t, whole.list)
		if c.list != nil {
			list = c.list
		}
		if c.image == nil {
			c.image = packed
		}
		write(t, image, c.image)
		if len(list) > 0 {
			write(t, filepath.Join(filepath.Dir(image), listFile), list)
		}
		if c.root == "" {
			c.root = whole.root
		}
		if c.size == 0 {
			c.size = 80 << 20
		}
		file := stick(t, c.size)
		before := read(t, file)
		if _, log, code := runImages("flash", image, file, "--force", "--root", c.root); code != 1 || !strings.Contains(log, c.says) {
			t.Errorf("%s: exit code %d: %s", name, code, log)
		}
		if !bytes.Equal(read(t, file), before) {
			t.Errorf("%s: it was written", name)
		}
	}
}

// Even what was signed is not unpacked beyond the size that was signed.
func TestFlashDownloadOfAnotherSize(t *testing.T) {
	d := newDownload(t, nil)
	root := read(t, d.Disk)
	for name, c := range map[string]struct {
		holds []byte
		says  string
	}{
		"more":        {append(bytes.Clone(root), make([]byte, 1<<30)...), "does not end with the image"},
		"less":        {root[:len(root)-1], "it ends after"},
		"other bytes": {append(bytes.Clone(root[:len(root)-1]), 1), "another image"},
	} {
		packed := compressed(t, c.holds)
		write(t, d.zst, packed)
		is, err := measure(t.Context(), d.zst)
		if err != nil {
			t.Fatal(err)
		}
		l, err := VerifyList(read(t, d.list), d.Roots.Last())
		if err != nil {
			t.Fatal(err)
		}
		for i := range l.Files {
			if l.Files[i].Name == filepath.Base(d.zst) {
				l.Files[i].Size, l.Files[i].SHA256 = is.Size, hexSum(is.SHA256)
			}
		}
		payload, err := strictjson.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		list := filepath.Join(t.TempDir(), "list.json")
		write(t, list, signedList(t, d.Key, payload))
		file := stick(t, 80<<20)
		before := read(t, file)
		if _, log, code := runImages("flash", d.zst, file, "--force", "--root", d.root, "--signature", list); code != 1 || !strings.Contains(log, c.says) {
			t.Errorf("%s: exit code %d: %s", name, code, log)
		}
		if !bytes.Equal(read(t, file), before) {
			t.Errorf("%s: it was written", name)
		}
	}
}

// signedList signs a payload, or that of an envelope, as a list.
func signedList(t *testing.T, key ed25519.PrivateKey, payload []byte) []byte {
	t.Helper()
	if env, err := envelope.Parse(payload); err == nil {
		payload = env.Payload
	}
	data, err := envelope.Sign(ListType, payload, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func payloadOf(t *testing.T, data []byte) []byte {
	t.Helper()
	env, err := envelope.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return env.Payload
}

func compressed(t testing.TB, data []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	if _, err := compress(&packed, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// Two answers to one question are refused, before anything is looked at.
func TestFlashSettingsContradict(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	write(t, image, []byte("not looked at"))
	for _, args := range [][]string{
		{"--mode", "local", "--set", "phase.mode=private"},
		{"--admin", "none", "--set", " phase.admin=none"},
		{"--mode", "public"}, {"--channel", "beta"}, {"--ip", "192.0.2.7"}, {"--bootstrap", "192.0.2.1"}, {"--admin", "me"},
	} {
		if _, log, code := runImages(append([]string{"flash", image, image, "--force"}, args...)...); code != 2 {
			t.Errorf("%q: exit code %d: %s", args, code, log)
		}
	}
}

// sha256sum checks what a build leaves, and the list follows when others sign.
func TestList(t *testing.T) {
	need(t, "qemu-img")
	d := newDownload(t, nil)
	sum := exec.Command("sha256sum", "-c", sumsFile)
	sum.Dir = d.dir
	if out, err := sum.CombinedOutput(); err != nil || bytes.Count(out, []byte(": OK")) != 6 {
		t.Errorf("%v: %s", err, out)
	}
	first := read(t, d.list)
	if err := os.Remove(d.list); err != nil {
		t.Fatal(err)
	}
	// Without the key there is a list to be signed elsewhere.
	if err := ListImages(t.Context(), d.dir, "stable", d.Roots.Last(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyList(read(t, d.list), d.Roots.Last()); err == nil {
		t.Error("a list that nobody signed was accepted")
	}
	keys := t.TempDir()
	if _, err := MakeKeys(keys+"/keys", randomness(9), day); err != nil {
		t.Fatal(err)
	}
	if out, log, code := runImages("sign", "--key", filepath.Join(keys, "keys", releaseKeyFile), d.list); code != 0 || !strings.Contains(out, "phase-x86_64.img.zst") {
		t.Errorf("exit code %d: %s%s", code, out, log)
	}
	if !bytes.Equal(read(t, d.list), first) {
		t.Error("signed elsewhere, it is another list")
	}
	// Made again with nothing changed, it keeps the signatures of others.
	if err := ListImages(t.Context(), d.dir, "stable", d.Roots.Last(), nil); err != nil || !bytes.Equal(read(t, d.list), first) {
		t.Errorf("the signature is lost: %v", err)
	}
	if err := os.Remove(d.zst); err != nil {
		t.Fatal(err)
	}
	if err := ListImages(t.Context(), d.dir, "stable", d.Roots.Last(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyList(read(t, d.list), d.Roots.Last()); err == nil {
		t.Error("a signature was kept for another list")
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(`{"channel":"stable","files":[{"name":"phase-x86_64.img","size":1,"sha256":"` + strings.Repeat("0a", 32) + `"}]}`))
	f.Add([]byte(`{"channel":"stable","files":[{"name":"../x","size":-1,"sha256":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseList(data)
		if err != nil {
			return
		}
		if n := bytes.Count(l.sums(), []byte("\n")); n != len(l.Files) || n > maxListed {
			t.Fatalf("%d files, %d lines", len(l.Files), n)
		}
		payload, err := strictjson.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseList(payload); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
	})
}

// FuzzDecompress: whatever comes, no more is written than was signed, and what is
// called whole is.
func FuzzDecompress(f *testing.F) {
	good, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.EncodeAll(bytes.Repeat([]byte("phase"), 1000), nil), 5000)
	f.Add(compressed(f, make([]byte, 1<<16)), 1<<16)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd}, 3)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 0 || size > 1<<20 {
			return
		}
		var out bytes.Buffer
		err := decompress(&out, bytes.NewReader(data), int64(size))
		if out.Len() > size || err == nil && out.Len() != size {
			t.Fatalf("%d bytes of %d, %v", out.Len(), size, err)
		}
	})
}
