package machines

import (
	"testing"
	"time"

	"phase/qemu"
	"phase/tests/hostile"
	"phase/tests/lab"
)

// A clock that fell back to 1970 neither brings an expired release to life nor
// keeps the node from taking an honest one: the clock's floor is signed. A
// clock that is a lifetime ahead finds everything expired, says so, and stops
// no boot. (2090, because QEMU cannot set 2100.)
func TestRefuseClock(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	list := hostile.Named(hostile.Times(t, made(t, w)), "expired")
	fakes := hostileProviders(t, s, "stable", w.Arch, list...)

	past := w.start(t, s, w.stub, qemu.Config{Name: "1970", Clock: time.Unix(0, 0)})
	future := w.start(t, s, w.stub, qemu.Config{Name: "2090", Clock: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)})
	up(t, past, lab.Begin, stubVersion)
	line(t, past, lab.Begin, `init: the clock said 1970-01-01T.*; it is not before `+w.stub.Manifest.Created.UTC().Format(time.RFC3339))
	allRefused(t, past, lab.Begin, fakes, list...)
	stays(t, past, lab.Begin, w.stub)

	good := honest(t, s, honestName, w.next)
	up(t, future, lab.Begin, stubVersion)
	_, looking := line(t, future, lab.Begin, `update: looking for`)
	fakes["honest"] = &lab.FakeProvider{URL: good.URL}
	allRefused(t, future, looking, fakes, append(list, hostile.Provider{Name: "honest", Codes: "expired"})...)
	line(t, future, looking, `update: .*refused .* by the clock it is 2090-.*; if that is wrong, set the clock of this machine`)
	for _, a := range status(t, future).Update.History {
		if a.At.Year() != 2090 {
			t.Errorf("the node of 2090 says it is %s", a.At)
		}
	}
	stays(t, future, lab.Begin, w.stub)
	serves(t, future, w.stub)

	jumped(t, past, lab.Begin, nextVersion)
	serves(t, past, w.next)
	// After the jump too, where the card that keeps time still says 1970.
	_, again := line(t, past, lab.Begin, `update: looking for a release newer than version 20 `)
	allRefused(t, past, again, fakes, list...)
}
