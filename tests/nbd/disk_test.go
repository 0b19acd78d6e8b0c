package nbd

import (
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
)

// write writes sectors that are all b, without a client.
func write(t *testing.T, d *Disk, sector, count int64, b byte) {
	t.Helper()
	r := request{command: cmdWrite, offset: sector * Sector, length: count * Sector, data: []byte(strings.Repeat(string([]byte{b}), int(count*Sector)))}
	if _, err := d.do(d.power, r); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, d *Disk) {
	t.Helper()
	if _, err := d.do(d.power, request{command: cmdFlush}); err != nil {
		t.Fatal(err)
	}
}

// sectors are the first bytes of each sector; a sector is one byte repeated.
func sectors(t *testing.T, d *Disk) []byte {
	t.Helper()
	all := make([]byte, d.Size())
	if _, err := d.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for s := range d.Size() / Sector {
		sector := all[s*Sector:][:Sector]
		for _, b := range sector {
			if b != sector[0] {
				t.Fatalf("sector %d was torn within", s)
			}
		}
		first = append(first, sector[0])
	}
	return first
}

// Over many cuts, a sector has what was flushed or one of the writes since, each
// of these is seen, writes are seen torn, and nothing else.
func TestCut(t *testing.T) {
	seen := map[string]bool{}
	torn, first := 0, 0
	for seed := range uint64(500) {
		d, err := NewDisk(strings.NewReader(""), 16*Sector)
		if err != nil {
			t.Fatal(err)
		}
		write(t, d, 0, 16, 'a')
		flush(t, d)
		write(t, d, 0, 8, 'b')  // pending, and written over in part
		write(t, d, 4, 8, 'c')  // pending
		write(t, d, 15, 1, 'd') // one sector is never torn
		loss, err := d.Cut(rand.New(rand.NewPCG(seed, 0)))
		if err != nil || loss.Pending != 3 || loss.Dropped+loss.Torn+loss.Kept != 3 {
			t.Fatalf("%+v, %v", loss, err)
		}
		torn += loss.Torn
		got := string(sectors(t, d))
		for i, allowed := range []string{"ab", "ab", "ab", "ab", "abc", "abc", "abc", "abc", "ac", "ac", "ac", "ac", "a", "a", "a", "ad"} {
			if !strings.Contains(allowed, got[i:i+1]) {
				t.Fatalf("seed %d: sector %d of %q: want one of %q", seed, i, got, allowed)
			}
		}
		if got[4] == 'b' && got[8] == 'c' {
			first++ // the second write came before the first
		}
		seen[got] = true
		again := sectorsOfSeed(t, seed)
		if again != got {
			t.Fatalf("seed %d gives %q, then %q", seed, got, again)
		}
	}
	for _, want := range []string{"aaaaaaaaaaaaaaaa", "bbbbccccccccaaad", "bbbbbbbbaaaaaaaa"} {
		if !seen[want] {
			t.Errorf("never seen: %q", want)
		}
	}
	if torn == 0 || first == 0 || len(seen) < 50 {
		t.Errorf("%d writes were torn, %d times they were reordered, %d states", torn, first, len(seen))
	}
}

func sectorsOfSeed(t *testing.T, seed uint64) string {
	t.Helper()
	d, err := NewDisk(strings.NewReader(""), 16*Sector)
	if err != nil {
		t.Fatal(err)
	}
	write(t, d, 0, 16, 'a')
	flush(t, d)
	write(t, d, 0, 8, 'b')
	write(t, d, 4, 8, 'c')
	write(t, d, 15, 1, 'd')
	if _, err := d.Cut(rand.New(rand.NewPCG(seed, 0))); err != nil {
		t.Fatal(err)
	}
	return string(sectors(t, d))
}

// A request that the dead machine left in a socket is not carried out for the
// next one.
func TestRequestsDieWithTheirPower(t *testing.T) {
	d, err := NewDisk(strings.NewReader("0123"), Sector)
	if err != nil {
		t.Fatal(err)
	}
	before := d.power
	d.Freeze()
	if _, err := d.do(before, request{command: cmdFlush}); !errors.Is(err, errFrozen) {
		t.Error(err)
	}
	if _, err := d.Cut(rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	d.PowerOn()
	if _, err := d.do(before, request{command: cmdFlush}); !errors.Is(err, errFrozen) {
		t.Error(err)
	}
	if data, err := d.do(d.power, request{command: cmdRead, length: 4}); err != nil || string(data) != "0123" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestBounds(t *testing.T) {
	for _, size := range []int64{-512, 0, 100} {
		if _, err := NewDisk(strings.NewReader(""), size); err == nil {
			t.Errorf("a disk of %d bytes", size)
		}
	}
	d, err := NewDisk(strings.NewReader(""), 4*Sector)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []request{
		{command: cmdRead, offset: -1, length: 1},
		{command: cmdRead, offset: 4 * Sector, length: 1},
		{command: cmdTrim, offset: 1 << 62, length: 1 << 32},
		{command: 77},
	} {
		if _, err := d.do(d.power, r); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := d.do(d.power, request{command: cmdWrite, offset: 4 * Sector, length: 1, data: []byte{1}}); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}

// Clone has what was flushed, and goes its own way.
func TestClone(t *testing.T) {
	d, err := NewDisk(strings.NewReader(""), 4*Sector)
	if err != nil {
		t.Fatal(err)
	}
	write(t, d, 0, 2, 'a')
	flush(t, d)
	write(t, d, 0, 1, 'b')
	c := d.Clone()
	write(t, c, 1, 1, 'c')
	flush(t, c)
	if a, b := string(sectors(t, d)), string(sectors(t, c)); a != "ba\x00\x00" || b != "ac\x00\x00" {
		t.Errorf("%q, its clone %q", a, b)
	}
}

// dial connects to a server, and leaves the handshake to the test.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", s.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	hello := make([]byte, 18)
	if n, err := c.Read(hello); err != nil || n != len(hello) {
		t.Fatalf("%d bytes of the greeting, %v", n, err)
	}
	return c
}
