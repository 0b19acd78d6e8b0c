package wasm

import (
	"encoding/binary"
	"os"
	"syscall"
	"testing"
	"time"

	"phase/appliance/compute/hostfs"
)

// TestQuietStreams: a stream that must not block does not, and stays as it is
// for all others who have it.
func TestQuietStreams(t *testing.T) {
	in, inputs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer inputs.Close()
	g := newGuest(t, Config{Stdin: in})
	fd := in.Fd() // asking once more would set the flags anew
	g.must("fd_fdstat_set_flags", 0, nonblock)
	if _, no := g.read(0); no != again {
		t.Errorf("nothing to read: %d", no)
	}
	flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	if flags&syscall.O_NONBLOCK != 0 {
		t.Error("the pipe was changed for everybody")
	}
	if _, err := inputs.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	if text, no := g.read(0); text != "text" || no != success {
		t.Errorf("read %q, %d", text, no)
	}
	inputs.Close()
	// One subscription: to reading from descriptor 0.
	subscription, event := g.room(subscriptionSize), g.room(eventSize)
	g.bytes(subscription, subscriptionSize)[8] = ofRead
	g.must("poll_oneoff", subscription, event, 1, g.room(4))
	if flags := g.bytes(event, eventSize)[24]; flags != 1 {
		t.Errorf("at the end of the stream the event has the flags %d", flags)
	}
	if text, no := g.read(0); text != "" || no != success {
		t.Errorf("at the end of the stream: %q, %d", text, no)
	}
}

// TestAStreamThatDoesNotBlock: a module that knows nothing of it waits.
func TestAStreamThatDoesNotBlock(t *testing.T) {
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	in, inputs := os.NewFile(uintptr(pipe[0]), "in"), os.NewFile(uintptr(pipe[1]), "inputs")
	defer in.Close()
	defer inputs.Close()
	d := newGuest(t, Config{Stdin: in}).system.table[0]
	buffer, empty := make([]byte, 64), 0
	n, no := d.transfer(false, [][]byte{buffer}, func(f hostfs.File, to [][]byte) (int, error) {
		n, err := f.Read(to)
		if err == syscall.EAGAIN { // from now on it waits
			empty++
			go inputs.WriteString("text")
		}
		return n, err
	})
	if string(buffer[:n]) != "text" || no != success || empty != 1 {
		t.Errorf("read %q, %d, after finding nothing %d times", buffer[:n], no, empty)
	}
}

// TestClocks: a clock that began now does not show zero, and the finest time
// that a module sees is a tick.
func TestClocks(t *testing.T) {
	g := newGuest(t, Config{})
	at := g.room(8)
	clock := func(id int) uint64 {
		g.must("clock_time_get", id, 0, at)
		return binary.LittleEndian.Uint64(g.bytes(at, 8))
	}
	g.system.begin = time.Now()
	if now := clock(monotonic); now == 0 || now%uint64(tick) != 0 || now > uint64(time.Minute) {
		t.Errorf("the monotonic clock began at %d", now)
	}
	if now := clock(realtime); now%uint64(tick) != 0 || time.Since(time.Unix(0, int64(now))) > time.Minute {
		t.Errorf("the clock of the day shows %d", now)
	}
	g.must("clock_res_get", monotonic, at)
	if resolution := binary.LittleEndian.Uint64(g.bytes(at, 8)); resolution != uint64(tick) {
		t.Errorf("the clock ticks every %d ns", resolution)
	}
	if no := g.call("clock_time_get", 2, 0, at); no != inval {
		t.Errorf("a clock of the processor's time: %d", no)
	}
}
