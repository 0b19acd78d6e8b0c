package machines

import (
	"encoding/json"
	"testing"

	"phase/qemu"
	"phase/tests/hostile"
	"phase/tests/lab"
)

// Two nodes and an impostor: a provider that announces itself, louder and
// with a newer release, under the name of the only node that has one, does not
// hide that node.
func TestRefuseImpostor(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	a := w.start(t, s, w.next, qemu.Config{Name: "A"})
	up(t, a, lab.Begin, nextVersion)
	var who struct {
		Name string `json:"name"`
	}
	data, err := a.Get(patient(t), "/")
	if err == nil {
		err = json.Unmarshal(data, &who)
	}
	if err != nil || who.Name == "" {
		t.Fatalf("A does not say its name: %s %v", data, err)
	}

	impostor := hostile.Software(t, made(t, w))[0]
	impostor.Name = who.Name
	fakes := hostileProviders(t, s, "stable", w.Arch, impostor)
	// The same once more, with a goodbye for the node of that name.
	falseGoodbye := fakeProvider(t, s, "false-goodbye", impostor.Serve)
	gone := falseGoodbye.Announcement("stable", w.Arch, nextVersion)
	gone.Name, gone.Addresses = who.Name, append(gone.Addresses, a.Addr())
	goodbye, err := gone.Packet(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := falseGoodbye.Speak(goodbye, goodbye); err != nil {
		t.Fatal(err)
	}

	b := w.start(t, s, w.stub, qemu.Config{Name: "B"})
	up(t, b, lab.Begin, stubVersion)
	found, _ := line(t, b, lab.Begin, lab.LineFound+`.*at (\S+)`)
	if want := "http://[" + a.Addr().String() + "%25eth0]:8080"; found[1] != want {
		t.Errorf("B found a release at %s, A is %s", found[1], want)
	}
	jumped(t, b, lab.Begin, nextVersion)
	serves(t, b, w.next)
	if provider := refused(t, b, lab.Begin, "signature"); provider != fakes[who.Name].URL {
		t.Errorf("B refused %s, the impostor is %s", provider, fakes[who.Name].URL)
	}
	stays(t, a, lab.Begin, w.next)
}
