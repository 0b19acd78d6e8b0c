package scheduler

import (
	"context"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
)

// TestAJobByDigestAlone: a module that was sent once need not be sent again by
// the same requester, and is held for no other.
func TestAJobByDigestAlone(t *testing.T) {
	dir := t.TempDir()
	small := assembled{memory: pages(1), bodies: [][]byte{nil}}.bytes()
	large := append(assembled{memory: pages(1), bodies: [][]byte{nil}}.bytes(), join([]byte{0}, sized(make([]byte, 9<<20)))...)
	start := func() (send func(requester string, module []byte, alone bool) (Done, error), end func()) {
		l := wide
		l.HeldBytes = 64 << 20
		s, pin := node(t, l)
		var err error
		if s.runner.Pool, err = OpenPool(modulecache.Config{Keys: dir}); err != nil {
			t.Fatal(err)
		}
		return func(requester string, module []byte, alone bool) (Done, error) {
			t.Helper()
			p := enter(t, s, requester)
			defer p.Leave()
			o := offer(t, module, nil)
			sent := o.Module
			if alone {
				o.Module = nil
			}
			done, err := p.Execute(context.WithoutCancel(t.Context()), o, Watch{})
			if o.Module = sent; err == nil {
				if wrong := done.Verify(o, pin); wrong != nil || done.Outcome != job.Exited {
					t.Errorf("%s: %+v, %v", requester, done.Result, wrong)
				}
			}
			return done, err
		}, s.runner.Pool.Close
	}
	for name, module := range map[string][]byte{"small": small, "large": large} {
		send, end := start()
		if _, err := send("me", module, true); rejected(err) != ModuleNeeded {
			t.Errorf("%s, never sent: %v, want %s", name, err, ModuleNeeded)
		}
		if _, err := send("me", module, false); err != nil {
			t.Fatal(err)
		}
		if _, err := send("me", module, true); err != nil {
			t.Errorf("%s, sent before: %v", name, err)
		}
		if _, err := send("you", module, true); rejected(err) != ModuleNeeded {
			t.Errorf("%s, sent by another: %v, want %s", name, err, ModuleNeeded)
		}
		end()
		send, end = start()
		if _, err := send("me", module, true); err != nil {
			t.Errorf("%s, after a restart: %v", name, err)
		}
		if _, err := send("you", module, true); rejected(err) != ModuleNeeded {
			t.Errorf("%s, of another before a restart: %v, want %s", name, err, ModuleNeeded)
		}
		end()
	}
}
