package scheduler

import (
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

// A receipt is held to everything that was asked and came back.
func TestVerifyRefusesAnotherRun(t *testing.T) {
	r, pin := runner(t)
	_, other := runner(t)
	o := offer(t, assembled{}.bytes(), nil)
	good, err := r.Execute(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := good.Verify(o, pin); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Done, *Offer, *receipt.Pin){
		"output":       func(d *Done, _ *Offer, _ *receipt.Pin) { d.Stdout = []byte("x") },
		"error output": func(d *Done, _ *Offer, _ *receipt.Pin) { d.Stderr = []byte("x") },
		"exit code":    func(d *Done, _ *Offer, _ *receipt.Pin) { d.ExitCode = 1 },
		"outcome":      func(d *Done, _ *Offer, _ *receipt.Pin) { d.Outcome = job.Trapped },
		"run":          func(d *Done, _ *Offer, _ *receipt.Pin) { d.RunID = NewRunID() },
		"input":        func(_ *Done, o *Offer, _ *receipt.Pin) { o.Stdin = []byte("x") },
		"nonce":        func(_ *Done, o *Offer, _ *receipt.Pin) { o.Nonce = NewNonce() },
		"job": func(_ *Done, o *Offer, _ *receipt.Pin) {
			o.Spec = offer(t, assembled{memory: pages(1)}.bytes(), nil).Spec
		},
		"node": func(_ *Done, _ *Offer, p *receipt.Pin) { *p = other },
	} {
		d, o, p := good, o, pin
		change(&d, &o, &p)
		if err := d.Verify(o, p); err == nil {
			t.Errorf("another %s passes", name)
		}
	}
}
