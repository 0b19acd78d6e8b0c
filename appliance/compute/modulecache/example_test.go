package modulecache_test

import (
	"bytes"
	"context"
	"fmt"

	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/sandbox"
)

// A module that a requester sent is compiled once, and from then on known by its
// digest: to this requester alone.
func ExampleCache() {
	cache, err := modulecache.Open(modulecache.Config{MemoryBytes: 1 << 20})
	if err != nil {
		panic(err)
	}
	defer cache.Close()
	module := modulecache.NewModule([]byte("\x00asm\x01\x00\x00\x00"))
	compile := func() (*modulecache.Compiled, error) {
		fmt.Println("compiling", module.Digest())
		return &modulecache.Compiled{Module: seal(module.Bytes()), Code: seal([]byte("machine code"))}, nil
	}
	for range 2 {
		compiled, release, err := cache.Use(context.Background(), "the owner", module.Digest(), compile)
		if err != nil {
			panic(err)
		}
		fmt.Println(compiled.Code.Size(), "bytes of code")
		release()
	}
	for _, requester := range []string{"the owner", "another"} {
		held, release := cache.Held(requester, module.Digest())
		fmt.Println(requester, held != nil)
		if held != nil {
			release()
		}
	}
	// Output:
	// compiling sha256:93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476
	// 12 bytes of code
	// 12 bytes of code
	// the owner true
	// another false
}

// seal stands for the worker process, which hands over what it compiled.
func seal(data []byte) *sandbox.Sealed {
	s, err := sandbox.Seal("example", bytes.NewReader(data))
	if err != nil {
		panic(err)
	}
	return s
}
