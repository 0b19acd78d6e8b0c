//go:build wasip1

package main

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"
)

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func pollOneoff(in, out unsafe.Pointer, n uint32, events unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_renumber
func renumber(from, to uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_readlink
func readlink(fd uint32, path unsafe.Pointer, pathLen uint32, buf unsafe.Pointer, bufLen uint32, used unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 path_link
func link(fd, flags uint32, path unsafe.Pointer, pathLen, newFD uint32, newPath unsafe.Pointer, newLen uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_shutdown
func shutdown(fd, how uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_dir_name
func prestatName(fd uint32, path unsafe.Pointer, pathLen uint32) uint32

type subscription struct {
	userdata uint64
	kind     uint64
	what     uint64 // the descriptor, or the clock
	timeout  uint64
	slack    uint64
	flags    uint64
}

// wait returns error and kind of each event that came, by userdata.
func wait(subscriptions ...subscription) (came string) {
	events := make([]byte, 32*len(subscriptions))
	var n uint32
	if no := pollOneoff(unsafe.Pointer(&subscriptions[0]), unsafe.Pointer(&events[0]), uint32(len(subscriptions)), unsafe.Pointer(&n)); no != 0 {
		return fmt.Sprint("error ", no)
	}
	for e := events[:32*n]; len(e) > 0; e = e[32:] {
		came += fmt.Sprintf("%d:%d:%d ", binary.LittleEndian.Uint64(e), e[8], e[10])
	}
	return came
}

// wasi calls what Go's own library does not, with a folder as descriptor 3
// that holds the symbolic link good.
func wasi() {
	now := uint64(time.Now().UnixNano())
	var used uint32
	var buffer [64]byte
	name := []byte("good")
	call := func(no uint32) string { return fmt.Sprint(no) }
	for _, line := range []string{
		"writable " + wait(subscription{1, 2, 1, 0, 0, 0}, subscription{2, 0, 1, 1e15, 0, 0}),
		"no descriptor " + wait(subscription{1, 1, 99, 0, 0, 0}),
		"nothing to read " + wait(subscription{1, 1, 0, 0, 0, 0}, subscription{2, 0, 1, 1e6, 0, 0}),
		"a time that has passed " + wait(subscription{1, 0, 0, now - 1e9, 0, 1}),
		"a time to come " + wait(subscription{1, 0, 0, now + 20e6, 0, 1}),
		"no such clock " + wait(subscription{1, 0, 9, 0, 0, 0}),
		"a short buffer " + call(readlink(3, unsafe.Pointer(&name[0]), 4, unsafe.Pointer(&buffer), 2, unsafe.Pointer(&used))) + " " + string(buffer[:used]),
		"a link that is followed " + call(link(3, 1, unsafe.Pointer(&name[0]), 4, 3, unsafe.Pointer(&buffer), 2)),
		"no socket " + call(shutdown(1, 1)) + " " + call(shutdown(99, 1)),
		"a name too long " + call(prestatName(3, unsafe.Pointer(&buffer), 1)) + " " + call(prestatName(3, unsafe.Pointer(&buffer), 64)),
		"onto what is not open " + call(renumber(2, 99)) + " " + call(renumber(99, 2)),
		"onto a stream " + call(renumber(3, 2)) + " " + call(readlink(2, unsafe.Pointer(&name[0]), 4, unsafe.Pointer(&buffer), 64, unsafe.Pointer(&used))) + " " + call(shutdown(3, 1)),
	} {
		fmt.Println(line)
	}
}
