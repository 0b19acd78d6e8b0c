package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestBringUp: what fails stops the boot and says at which step; so does a panic,
// and a last step that comes back.
func TestBringUp(t *testing.T) {
	no := errors.New("no")
	for want, does := range map[string]func() error{
		"second: no":                          func() error { return no },
		"a fault in the initramfs itself: oh": func() error { panic("oh") },
		"third returned":                      func() error { return nil },
	} {
		var done []string
		note := func(name string, do func() error) step {
			return step{name, func() error { done = append(done, name); return do() }}
		}
		fine := func() error { return nil }
		err := bringUp([]step{note("first", fine), note("second", does), note("third", fine)})
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		all := []string{"first", "second"}
		if want == "third returned" {
			all = append(all, "third")
		}
		if !slices.Equal(done, all) {
			t.Errorf("%s: it did %q", want, done)
		}
	}
}

// TestSteps: the guard and the watchdog of a trial are there before anything of
// the release is touched, and the rootfs's init comes last.
func TestSteps(t *testing.T) {
	at := func(what string) int { return slices.IndexFunc(steps, func(s step) bool { return s.what == what }) }
	if trial, rootfs := at("preparing for a trial"), at("mounting the rootfs"); trial < 0 || rootfs < trial {
		t.Errorf("the trial is prepared at step %d, the rootfs mounted at %d", trial, rootfs)
	}
	if last := at("starting " + next); last != len(steps)-1 {
		t.Errorf("the next init is started at step %d of %d", last, len(steps))
	}
}

// TestFirst: the program of the release that jumped arms the watchdog, leaves nothing
// mounted, and starts the init of the release that is tried last.
func TestFirst(t *testing.T) {
	var does []string
	for _, s := range first {
		does = append(does, s.what)
	}
	if want := []string{"mounting /dev and /proc", "preparing for a trial", "deleting itself", "unmounting /dev and /proc", "starting /init"}; !slices.Equal(does, want) {
		t.Errorf("it does %q", does)
	}
}

func TestOnTrial(t *testing.T) {
	for cmdline, want := range map[string]bool{
		"": false, "console=ttyS0 phase.mode=local\n": false, "phase.trial=sha256:00\n": true, "quiet phase.trial=x": true, "trial=x": false,
	} {
		if got := onTrial(cmdline); got != want {
			t.Errorf("%q is on trial: %v", cmdline, got)
		}
	}
}

// TestSeedRandom: the seed is used once: it is gone afterwards, taken or not; a
// boot without one is no error.
func TestSeedRandom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seed")
	for _, result := range []error{nil, errors.New("no")} {
		if err := os.WriteFile(file, []byte("random"), 0o600); err != nil {
			t.Fatal(err)
		}
		var added []byte
		if err := seedRandom(file, func(b []byte) error { added = b; return result }); !errors.Is(err, result) || string(added) != "random" {
			t.Errorf("added %q, %v", added, err)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the seed after %v: %v", result, err)
		}
	}
	if err := seedRandom(file, func([]byte) error { t.Error("a seed that is not there was added"); return nil }); err != nil {
		t.Error(err)
	}
}
