package modulecache

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/compute/sandbox"
)

func sealed(t *testing.T, text string) *sandbox.Sealed {
	t.Helper()
	s, err := sandbox.Seal("compiled", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, c Config) *Cache {
	t.Helper()
	cache, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return cache
}

// compiled is a module and its code.
func compiled(t *testing.T, code string) Compiled {
	t.Helper()
	return Compiled{sealed(t, "module of "+code), sealed(t, code)}
}

// held is the code that the cache has for a module, "" for nothing.
func held(t *testing.T, c *Cache, module key) string {
	t.Helper()
	got, release := c.get(module)
	if release == nil {
		return ""
	}
	defer release()
	code := text(t, got.Code)
	if text(t, got.Module) != "module of "+code {
		t.Errorf("the module of %.40q is %.40q", code, text(t, got.Module))
	}
	return code
}

func text(t *testing.T, code *sandbox.Sealed) (s string) {
	t.Helper()
	if err := code.Map(func(b []byte) error { s = string(b); return nil }); err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, c *Cache, module key, code string) {
	t.Helper()
	_, release := c.put(module, compiled(t, code))
	release()
	c.writing.Wait()
}

var one, two = keyOf("me", names.Sum([]byte("one"))), keyOf("me", names.Sum([]byte("two")))

func TestCodeOutlivesTheProcess(t *testing.T) {
	config := Config{Keys: t.TempDir(), DiskBytes: 1 << 20, MemoryBytes: 1 << 20}
	first := open(t, config)
	if held(t, first, one) != "" {
		t.Error("an empty cache holds something")
	}
	put(t, first, one, "code of one")
	second := open(t, config)
	if got := held(t, second, one); got != "code of one" {
		t.Errorf("the next process finds %q", got)
	}
	if got := held(t, second, two); got != "" {
		t.Errorf("for another module it finds %q", got)
	}
	second.Forget("me", names.Sum([]byte("one")))
	if got := held(t, open(t, config), one); got != "" {
		t.Errorf("what was forgotten is %q", got)
	}
}

// TestForgeries: whatever is done to the files, what comes back is what was put
// there for that module by the owner of the key, or nothing.
func TestForgeries(t *testing.T) {
	config := Config{Keys: t.TempDir(), DiskBytes: 1 << 20, MemoryBytes: 1 << 20}
	c := open(t, config)
	put(t, c, one, "code of one")
	put(t, c, two, "code of two")
	name, other := c.path(one), c.path(two)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	another, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string][]byte{
		"empty": nil, "another module's": another, "a byte more": append(bytes.Clone(good), 0),
		"another cache's": func() []byte {
			stranger := open(t, Config{Keys: t.TempDir(), DiskBytes: 1 << 20, MemoryBytes: 1 << 20})
			put(t, stranger, one, "code of one")
			data, err := os.ReadFile(stranger.path(one))
			if err != nil {
				t.Fatal(err)
			}
			return data
		}(),
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		forged["byte "+string(rune('0'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10))+" changed"] = changed
		forged["cut at "+string(rune('0'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10))] = good[:i]
	}
	for what, data := range forged {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := held(t, open(t, config), one); got != "" {
			t.Errorf("%s: %q was believed", what, got)
		}
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s: it was left there", what)
		}
	}
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := held(t, open(t, config), one); got != "code of one" {
		t.Errorf("the real one: %q", got)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, name); err != nil {
		t.Fatal(err)
	}
	if got := held(t, open(t, config), one); got != "" {
		t.Errorf("a link: %q was followed", got)
	}
}

func TestTheOldestGoesFirst(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Keys: dir, DiskBytes: 5500, MemoryBytes: 1 << 20})
	for i := range 5 {
		put(t, c, key{byte(i)}, strings.Repeat("x", 800))
		then := time.Unix(int64(1e9+i), 0)
		if err := os.Chtimes(c.path(key{byte(i)}), then, then); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		_, err := os.Stat(c.path(key{byte(i)}))
		if (err == nil) != (i >= 2) {
			t.Errorf("file %d: %v", i, err)
		}
	}
	put(t, c, one, strings.Repeat("x", 4000))
	if _, err := os.Stat(c.path(one)); err == nil {
		t.Error("a file over the limit was written")
	}
}

func TestMemoryIsBoundedAndWhatIsUsedStays(t *testing.T) {
	c := open(t, Config{MemoryBytes: 2000})
	first, release := c.put(one, compiled(t, strings.Repeat("1", 800)))
	code := first.Code
	put(t, c, two, strings.Repeat("2", 800))
	if held(t, c, one) != "" || held(t, c, two) == "" {
		t.Error("the older one stays, or the newer one has gone")
	}
	if got := text(t, code); got != strings.Repeat("1", 800) {
		t.Error("what is used has gone")
	}
	release()
	release() // does no harm
	if err := code.Map(func([]byte) error { return nil }); err == nil {
		t.Error("what nobody uses is still open")
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	first, err := loadKey(dir)
	if err != nil || first == [32]byte{} {
		t.Fatal(first, err)
	}
	if again, err := loadKey(dir); err != nil || again != first {
		t.Errorf("another key: %v", err)
	}
	name := filepath.Join(dir, keyFile)
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode: %v, %v", info, err)
	}
	for what, spoil := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(name, 0o644) },
		"torn":               func() error { return os.Truncate(name, 7) },
	} {
		before, err := loadKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if after, err := loadKey(dir); err != nil || after == before {
			t.Errorf("%s: kept, %v", what, err)
		}
	}
}
