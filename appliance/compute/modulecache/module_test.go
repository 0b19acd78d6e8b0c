package modulecache

import (
	"context"
	"errors"
	"sync"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/compute/wasm"
)

// holds says whether a requester's module is kept.
func holds(c *Cache, requester string, module names.Digest) bool {
	_, release := c.Held(requester, module)
	if release == nil {
		return false
	}
	release()
	return true
}

// Nothing that one requester sent is found for another, in memory or on disk.
func TestRequestersShareNothing(t *testing.T) {
	config := Config{Keys: t.TempDir(), DiskBytes: 1 << 20, MemoryBytes: 1 << 20}
	module := names.Sum([]byte("one"))
	made := 0
	use := func(c *Cache, requester string) {
		t.Helper()
		_, release, err := c.Use(t.Context(), requester, module, func() (*Compiled, error) {
			made++
			new := compiled(t, "code")
			return &new, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		release()
		c.writing.Wait()
	}
	first := open(t, config)
	use(first, "me")
	use(first, "me")
	has := func(c *Cache, requester string) bool { return holds(c, requester, module) }
	if made != 1 || !has(first, "me") || has(first, "you") || has(first, "") {
		t.Errorf("compiled %d times; held for me %v, for another %v, for none %v", made, has(first, "me"), has(first, "you"), has(first, ""))
	}
	use(first, "you")
	if made != 2 {
		t.Errorf("another requester's first use compiled nothing")
	}
	first.Forget("you", module)
	second := open(t, config)
	if !has(second, "me") || has(second, "you") {
		t.Errorf("after a restart: held for me %v, for another, forgotten, %v", has(second, "me"), has(second, "you"))
	}
	// Names that run into one another are not the same requester's module.
	if keyOf("ab", module) == keyOf("a", module) || keyOf("", names.Digest{1}) == keyOf("\x01", names.Digest{}) {
		t.Error("two requesters have the same key")
	}
}

// Compiling that fails ends the wait of the others, who then try themselves.
func TestUseWaitsAndTriesAgain(t *testing.T) {
	c := open(t, Config{MemoryBytes: 1 << 20})
	module := names.Sum([]byte("one"))
	failed := errors.New("no")
	compiling, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		if _, release, err := c.Use(t.Context(), "me", module, func() (*Compiled, error) {
			close(compiling)
			<-goOn
			return nil, failed
		}); !errors.Is(err, failed) || release != nil {
			t.Errorf("the first: %v", err)
		}
	})
	<-compiling
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Use(ended, "me", module, func() (*Compiled, error) { panic("twice at once") }); !errors.Is(err, context.Canceled) {
		t.Errorf("one that does not wait: %v", err)
	}
	all.Go(func() {
		_, release, err := c.Use(t.Context(), "me", module, func() (*Compiled, error) {
			new := compiled(t, "code")
			return &new, nil
		})
		if err != nil {
			t.Errorf("the second: %v", err)
			return
		}
		release()
	})
	close(goOn)
	all.Wait()
	if !holds(c, "me", module) {
		t.Error("what the second made is not held")
	}
}

// A module is looked at once: what is then done to its bytes changes nothing.
func TestAModuleIsLookedAtOnce(t *testing.T) {
	bytes := []byte("\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x02")
	m, digest := NewModule(bytes), names.Sum(bytes)
	if info, err := m.Inspect(); m.Digest() != digest || err != nil || info.MemoryPages != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	clear(bytes)
	if info, err := m.Inspect(); m.Digest() != digest || err != nil || info.MemoryPages != 2 {
		t.Errorf("it was looked at again: %+v, %v", info, err)
	}
	if _, err := NewModule(bytes).Inspect(); !errors.Is(err, wasm.ErrNotModule) {
		t.Errorf("no module: %v", err)
	}
}

// A module that is held is the one that was sent, for as long as it is in use,
// whatever happens to the cache.
func TestHeldIsWhatWasSent(t *testing.T) {
	c := open(t, Config{MemoryBytes: 1})
	bytes := "\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x02"
	digest := names.Sum([]byte(bytes))
	keep := func(module names.Digest, text string) {
		t.Helper()
		_, release, err := c.Use(t.Context(), "me", module, func() (*Compiled, error) {
			return &Compiled{Module: sealed(t, text), Code: sealed(t, "code")}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	keep(digest, bytes)
	m, release := c.Held("me", digest)
	if m == nil {
		t.Fatal("it is not held")
	}
	defer release()
	c.Forget("me", digest)
	keep(names.Sum([]byte("other")), "other") // in the place of the first, of which there is room for one
	if holds(c, "me", digest) {
		t.Error("what was forgotten is held")
	}
	info, err := m.Inspect()
	if m.Digest() != digest || m.Size() != int64(len(bytes)) || string(m.Bytes()) != bytes || err != nil || info.MemoryPages != 2 {
		t.Errorf("%d bytes, %q, %+v, %v", m.Size(), m.Bytes(), info, err)
	}
}
