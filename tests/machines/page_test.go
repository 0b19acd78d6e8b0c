package machines

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/compute/job"
	"phase/qemu"
	"phase/tests/browser"
	"phase/tests/lab"
)

// The page of a node is open in a browser all the time: the start of the machine, an
// update and a job are read off it, and the browser asks nobody but the node.
func TestPageOpen(t *testing.T) {
	long(t)
	t.Parallel()
	tab := browser.Open(t)
	hello, err := os.ReadFile(filepath.Join(build(), "examples", "hello.wasm"))
	if err != nil {
		missing(t, err)
	}
	w, s := open(t, machineArch), segment(t)
	p := laptop(t, s, nil)
	n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node"})
	id := up(t, n, lab.Begin, stubVersion)
	status(t, n) // its network is up
	origin := browser.Forward(t, func(ctx context.Context) (net.Conn, error) {
		return s.Dial(ctx, "tcp", net.JoinHostPort(n.Addr().String(), "8080"))
	})
	tab.Go(t, origin+"/")
	tab.Reads(t, "#top", "booted from stub")
	tab.Reads(t, "#boot", "after the kernel started")
	for _, step := range []string{"kernel", "boot disk", "persistent partition", "plasmd starts", "net starts", "plasmd gets well"} {
		tab.Reads(t, "#boot", step)
	}
	tab.Reads(t, "#releases", fmt.Sprintf("%d runs", stubVersion))
	tab.Reads(t, "#network", "up")
	tab.Type(t, "#token", id.Token)
	tab.Reads(t, "#jobs", "None was run yet")
	browser.Value[bool](t, tab, `window.same = true`)

	offered(t, p, w.next)
	if _, err := n.Order(patient(t), id.Token, "check"); err != nil {
		t.Fatal(err)
	}
	jumped(t, n, lab.Begin, nextVersion)
	tab.Reads(t, "#top", "booted from kexec")
	tab.Reads(t, "#releases", fmt.Sprintf("%d runs", nextVersion))
	tab.Reads(t, "#taken", fmt.Sprintf("version %d", nextVersion))
	tab.Reads(t, "#taken", "verified by root ")
	tab.Reads(t, "#boot", "plasmd gets well")
	a, err := n.Job(patient(t), id.Token, hello, "esahP olleh", func(j *job.Job) { j.TimeoutSeconds = enough })
	if err != nil || string(a.Stdout) != "hello Phase" {
		t.Fatalf("%q, %v", a.Stdout, err)
	}
	tab.Reads(t, "#jobs", "done: exited 0")
	tab.Hidden(t, "#live")
	tab.Pictures(t, "machine-")
	if !browser.Value[bool](t, tab, `window.same`) {
		t.Error("the page was opened again")
	}
	if list := tab.Elsewhere(origin, id.Token); len(list) > 0 || tab.Requests() == 0 {
		t.Errorf("of %d requests these went elsewhere, or have the token: %q", tab.Requests(), list)
	}
	if list := tab.Trouble(); len(list) > 0 {
		t.Errorf("the browser complains: %q", list)
	}
}
