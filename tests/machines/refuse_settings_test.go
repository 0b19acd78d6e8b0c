package machines

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// noisy is n bytes of anything, the same in every run, none of them in
// without.
func noisy(n int, without string) string {
	dice := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 0, n)
	for len(b) < n {
		if c := byte(dice.Uint32()); strings.IndexByte(without, c) < 0 {
			b = append(b, c)
		}
	}
	return string(b)
}

// unknown expects words among a node's options_unknown, and each with a line
// on its console.
func unknown(t *testing.T, n *lab.Node, words ...string) {
	t.Helper()
	st := status(t, n)
	t.Logf("options_unknown: %.2000q", st.OptionsUnknown)
	for _, word := range words {
		if !slices.ContainsFunc(st.OptionsUnknown, func(s string) bool { return strings.HasPrefix(s, word) }) {
			t.Errorf("/status does not list %s", word)
		}
		if !slices.ContainsFunc(n.Console.Events(), func(e qemu.Event) bool { return strings.Contains(e.Text, "init: problem: "+word) }) {
			t.Errorf("%s is not on the console", word)
		}
	}
}

// A phase.conf that nobody meant: what is not understood is reported, what is
// understood holds, and the node comes up and gets its release.
func TestRefuseSettingsFile(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	stub, err := w.Release(patient(t), stubVersion)
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.Join([]string{
		"phase.mode=paranoid", "phase.channel=../../etc", "phase.nonsense=1", "phase.update=maybe",
		"phase.provider=javascript:alert(1)", "phase.ip=999.1.2.3/99,nowhere", "phase.menu=" + strings.Repeat("9", 400),
		"phase.trial=sha256:00", "init=/bin/sh", "phase.cache=off phase.update=off", "\x1b[7;31mphase.x=\x1b[0m",
		strings.Repeat("phase.y", 5000) + "=1", noisy(96<<10, ""),
	}, "\n")
	if err := lab.WriteConf(patient(t), stub.Disk, []byte(conf)); err != nil {
		t.Fatal(err)
	}
	n := w.start(t, s, stub, qemu.Config{Name: "node"})
	up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `mode local, booted from stub`)
	unknown(t, n, "phase.mode=paranoid", "phase.channel=../../etc", "phase.nonsense=1", "phase.update=maybe",
		"phase.provider=javascript:alert(1)", "phase.ip=999.1.2.3/99", "phase.menu=999", "phase.trial=sha256:00", "init=/bin/sh",
		"phase.cache=off phase.update=off", "?[7;31mphase.x=?[0m", "phase.yphase.y")
	problem(t, n, lab.Begin, `phase.conf is longer than 64 KiB`)
	problem(t, n, lab.Begin, `more options are not understood`)
	stays(t, n, lab.Begin, stub)
	if strings.Contains(raw(t, n), "\x1b[7;31m") {
		t.Error("phase.conf wrote on the console what it liked")
	}
	honest(t, s, honestName, w.next)
	jumped(t, n, lab.Begin, nextVersion)
}

// A command line that nobody meant, as long as the kernel takes one.
func TestRefuseCommandLine(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	bare, err := w.Bare(w.stub, "phase.mode=paranoid", "phase.nonsense=1", "phase.=", "phase.update", "phase.disk=/dev/../etc",
		"phase.provider=http://[fe80::1%25eth0]:99999", `phase.channel="stable testing"`, "phase.ip="+strings.Repeat("1", 300))
	if err != nil {
		t.Fatal(err)
	}
	// Without what ends a command line, or begins a word that the kernel itself
	// acts on, and within the 2047 bytes that it takes.
	bare.Cmdline += " phase.z=" + noisy(2040-len(bare.Cmdline)-len(" phase.z="), "\x00\t\n\v\f\r \"\xa0")
	n := w.start(t, s, w.stub, bare.Config(qemu.Config{Name: "node"}))
	up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `mode local, booted from kexec`)
	unknown(t, n, "phase.mode=paranoid", "phase.nonsense=1", "phase.=", "phase.update", "phase.disk=/dev/../etc",
		"phase.provider=http://[fe80::1%25eth0]:99999", "phase.channel=stable testing", "phase.ip=111", "phase.z=")
	stays(t, n, lab.Begin, w.stub)
	honest(t, s, honestName, w.next)
	// Its words go along into the next kernel, which takes no more bytes than
	// this one: a trial's would not fit beside them.
	line(t, n, lab.Begin, `update: .*version 20 was not taken: .*2047`)
	stays(t, n, lab.Begin, w.stub)
}
