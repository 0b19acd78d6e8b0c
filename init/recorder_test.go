package main

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"phase/appliance/machine/linux"
)

// recorder is a linux.Kernel that only writes down what it was asked for.
type recorder struct {
	fail map[string]error // what a call ("load", "unload", "jump", "restart", "power off") returns

	mu    sync.Mutex
	calls []string
}

// Calls returns what was asked for, in order; a load as "load CMDLINE".
func (r *recorder) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.calls...)
}

func (r *recorder) call(name, detail string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, strings.TrimSpace(name+" "+detail))
	return r.fail[name]
}

// Load stands for kexecload.Running.Load, Unload for its Unload.
func (r *recorder) Load(_, _ linux.Part, cmdline string) error { return r.call("load", cmdline) }

func (r *recorder) Unload() error { return r.call("unload", "") }

// Loaded implements linux.Kernel.
func (r *recorder) Loaded() (bool, error) {
	loaded := false
	for _, c := range r.Calls() {
		loaded = strings.HasPrefix(c, "load") || loaded && c != "unload"
	}
	return loaded, nil
}

// Jump implements linux.Kernel.
func (r *recorder) Jump() error { return r.call("jump", "") }

// Restart implements linux.Kernel.
func (r *recorder) Restart() error { return r.call("restart", "") }

// PowerOff implements linux.Kernel.
func (r *recorder) PowerOff() error { return r.call("power off", "") }

func TestRecorder(t *testing.T) {
	r := &recorder{fail: map[string]error{"jump": errors.New("no")}}
	if loaded, _ := r.Loaded(); loaded {
		t.Error("loaded before a load")
	}
	if err := r.Load(linux.Part{}, linux.Part{}, "x=y"); err != nil {
		t.Fatal(err)
	}
	loaded, _ := r.Loaded()
	if err := r.Jump(); err == nil || !loaded {
		t.Errorf("jump %v, loaded %v", err, loaded)
	}
	_ = r.Unload() // a recorder's calls fail only when told to
	if loaded, _ = r.Loaded(); loaded || strings.Join(r.Calls(), "; ") != "load x=y; jump; unload" {
		t.Errorf("loaded %v, calls %q", loaded, r.Calls())
	}
}
