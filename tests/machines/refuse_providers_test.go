package machines

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"phase/appliance/network/lan"
	"phase/qemu"
	"phase/tests/hostile"
	"phase/tests/lab"
)

// honestName is the instance under which the honest provider announces itself,
// and somebody else before it.
const honestName = "phase-0a1b2c3d"

// A node alone among hostile providers stays up on what it has, names each of
// them with the reason, on its console and in /status, and takes the release
// of the first honest provider that comes.
func TestRefuseProviders(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	list := hostile.All(t, made(t, w))
	impostor := hostile.Named(list, "unsigned")[0]
	fakes := hostileProviders(t, s, "stable", w.Arch, list...)
	noise(t, s, w.Arch)

	// One speaks under the name of the honest provider before that is there,
	// another says for it that it is gone.
	fakes["impostor"] = fakeProvider(t, s, honestName, impostor.Serve)
	if err := fakes["impostor"].Announce(fakes["impostor"].Announcement("stable", w.Arch, 5000)); err != nil {
		t.Fatal(err)
	}
	list = append(list, hostile.Provider{Name: "impostor", Codes: impostor.Codes})
	falseGoodbye := fakeProvider(t, s, "false-goodbye", impostor.Serve)
	gone := falseGoodbye.Announcement("stable", w.Arch, nextVersion)
	gone.Name = honestName
	goodbye, err := gone.Packet(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := falseGoodbye.Speak(goodbye); err != nil {
		t.Fatal(err)
	}
	// A name and a text that would colour a terminal and forge a line.
	fakes["escapes"] = fakeProvider(t, s, "escapes", impostor.Serve)
	escapes := fakes["escapes"].Announcement("stable", w.Arch, 5001)
	escapes.Name, escapes.Text = "\x1b[7;31m\n"+hostile.ForgedLine[:30], []string{"x=\x1b[7;31m\n" + hostile.ForgedLine}
	if err := fakes["escapes"].Announce(escapes); err != nil {
		t.Fatal(err)
	}
	list = append(list, hostile.Provider{Name: "escapes", Codes: impostor.Codes})

	n := w.start(t, s, w.stub, qemu.Config{Name: "node"})
	up(t, n, lab.Begin, stubVersion)
	_, looking := line(t, n, lab.Begin, `update: looking for`)
	allRefused(t, n, looking, fakes, list...)
	stays(t, n, looking, w.stub)
	serves(t, n, w.stub)

	before := n.Console.Last()
	honest(t, s, honestName, w.next)
	jumped(t, n, before, nextVersion)
	serves(t, n, w.next)
	console := raw(t, n)
	if strings.Contains(console, "\n"+hostile.ForgedLine) || strings.Contains(console, "\x1b[7;31m") {
		t.Error("a provider wrote on the console what it liked")
	}
}

// noise has hosts say by multicast DNS what is no announcement.
func noise(t *testing.T, s *qemu.Segment, arch string) {
	t.Helper()
	random := make([]byte, 1200)
	dice := rand.New(rand.NewPCG(1, 2)) // the same noise in every run
	for i := range random {
		random[i] = byte(dice.Uint32())
	}
	loud := fakeProvider(t, s, "loud", hostile.HTTP(http.NotFound))
	huge := loud.Announcement("stable", arch, 1<<62)
	for range 20 {
		huge.Text = append(huge.Text, strings.Repeat("\x07", 255))
	}
	wide := loud.Announcement("stable", arch, 1)
	for range 120 {
		wide.Addresses = append(wide.Addresses, wide.Addresses[0])
	}
	packets := [][]byte{
		nil, {0}, random, append(make([]byte, 12), random...),
		// 65,535 records of each kind, and none there.
		{0, 0, 0x84, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		// A name that points at itself.
		{0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 120, 0, 2, 0xc0, 12},
		bytes.Repeat([]byte{0xc0}, 8000),
	}
	for _, a := range []lab.Announcement{huge, wide} {
		p, err := a.Packet(120)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p, p[:len(p)/2])
	}
	if err := loud.Speak(packets...); err != nil {
		t.Fatal(err)
	}
	// Instances without number, which lead nowhere.
	crowd := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
	for i := range 200 {
		name := string(rune('a'+i%26)) + strings.Repeat("x", i%40) + "." + lan.Service
		crowd.Answer = append(crowd.Answer, &dns.PTR{Hdr: dns.RR_Header{Name: lan.Service, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 1<<32 - 1}, Ptr: name})
	}
	packet, err := crowd.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if err := fakeProvider(t, s, "crowd", hostile.HTTP(http.NotFound)).Speak(packet); err != nil {
		t.Fatal(err)
	}
}
