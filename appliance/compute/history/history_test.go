package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"phase/appliance/compute/job"
)

var wide = Limits{Runs: 1000, Bytes: 16 << 20, Nonces: 1000}

func open(t testing.TB, path string, l Limits) *History {
	t.Helper()
	h, err := Open(path, l)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func shut(t testing.TB, h *History) {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// entry is the n-th run.
func entry(n int) Entry {
	return Entry{
		Run: Run{RunID: fmt.Sprintf("%032x", n), JobID: "j", Requester: "r", State: Queued, Queued: time.Unix(int64(n), 0).UTC()},
		Job: []byte("{}"),
	}
}

func nonce(n int) []byte { return binary.BigEndian.AppendUint64(make([]byte, 8), uint64(n)) }

// done is the same run at its end.
func done(e Entry) Entry {
	outcome, code, at := job.Exited, uint32(3), e.Queued.Add(time.Second)
	e.State, e.Started, e.Finished, e.Outcome, e.ExitCode, e.Receipt = Done, &e.Queued, &at, &outcome, &code, []byte(`{"of":"`+e.RunID+`"}`)
	return e
}

func finish(t testing.TB, h *History, n int) {
	t.Helper()
	if err := h.Begin(entry(n), nonce(n)); err != nil {
		t.Fatal(err)
	}
	h.Running(entry(n).RunID, entry(n).Queued)
	if err := h.End(done(entry(n))); err != nil {
		t.Fatal(err)
	}
}

func TestRunsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	h := open(t, path, wide)
	for n := range 3 {
		finish(t, h, n)
	}
	for n := 3; n < 5; n++ { // not over
		if err := h.Begin(entry(n), nonce(n)); err != nil {
			t.Fatal(err)
		}
	}
	h.Running(entry(4).RunID, time.Unix(9, 0))
	if list, _, err := h.List("", 10); err != nil || len(list) != 5 || list[0].State != Running || list[1].State != Queued || list[2].State != Done {
		t.Errorf("%+v, %v", list, err)
	}
	shut(t, h)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	h = open(t, path, wide)
	defer shut(t, h)
	for n := range 5 {
		e, err := h.Get(entry(n).RunID)
		want := done(entry(n))
		if n >= 3 {
			if err != nil || e.State != Lost || e.Receipt != nil {
				t.Errorf("run %d, which was not over: %+v, %v", n, e, err)
			}
			continue
		}
		if err != nil || e.State != Done || !bytes.Equal(e.Receipt, want.Receipt) || *e.ExitCode != 3 || *e.Outcome != job.Exited || !e.Finished.Equal(*want.Finished) {
			t.Errorf("run %d: %+v, %v", n, e, err)
		}
		if err := h.Begin(entry(100+n), nonce(n)); !errors.Is(err, ErrSeen) {
			t.Errorf("nonce %d again: %v", n, err)
		}
	}
	finish(t, h, 7)
	if list, more, err := h.List("", 2); err != nil || !more || len(list) != 2 || list[0].RunID != entry(7).RunID || list[1].RunID != entry(4).RunID {
		t.Errorf("%+v, %v, %v", list, more, err)
	}
}

func TestListGoesOnWhereItEnded(t *testing.T) {
	h := open(t, "", wide)
	defer shut(t, h)
	for n := range 10 {
		if n%3 == 0 {
			if err := h.Begin(entry(n), nonce(n)); err != nil {
				t.Fatal(err)
			}
		} else {
			finish(t, h, n)
		}
	}
	var got []string
	for before, more := "", true; more; {
		var list []Run
		var err error
		if list, more, err = h.List(before, 3); err != nil || len(list) == 0 {
			t.Fatal(list, err)
		}
		for _, r := range list {
			got = append(got, r.RunID)
		}
		before = list[len(list)-1].RunID
	}
	for i, id := range got {
		if id != entry(9-i).RunID {
			t.Errorf("run %d of the list is %s", i, id)
		}
	}
	if len(got) != 10 {
		t.Errorf("%d runs, want 10", len(got))
	}
	if _, _, err := h.List("nobody", 3); !errors.Is(err, ErrUnknown) {
		t.Errorf("behind no run: %v", err)
	}
	if _, err := h.Get("nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("no run: %v", err)
	}
	if err := h.End(entry(1)); !errors.Is(err, ErrUnknown) {
		t.Errorf("the end of what is over: %v", err)
	}
}

// The oldest runs give way, by number and by size; what is not over does not,
// and nonces are counted for themselves.
func TestPruning(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	limits := Limits{Runs: 10, Bytes: 1 << 20, Nonces: 20}
	h := open(t, path, limits)
	if err := h.Begin(entry(1000), nonce(1000)); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		finish(t, h, n)
	}
	list, _, err := h.List("", 100)
	if err != nil || len(list) != 10 || list[0].RunID != entry(49).RunID || list[9].RunID != entry(1000).RunID {
		t.Errorf("%d runs, %v: %+v", len(list), err, list)
	}
	if _, err := h.Get(entry(0).RunID); !errors.Is(err, ErrUnknown) {
		t.Errorf("the oldest: %v", err)
	}
	if err := h.Begin(entry(60), nonce(35)); !errors.Is(err, ErrSeen) {
		t.Errorf("a nonce whose run is gone: %v", err)
	}
	if err := h.Begin(entry(61), nonce(10)); err != nil {
		t.Errorf("a nonce beyond the limit: %v", err)
	}
	large := entry(70)
	large.Job = make([]byte, 1<<20)
	if err := h.Begin(large, nonce(70)); err != nil {
		t.Fatal(err)
	}
	if err := h.End(done(large)); err != nil {
		t.Fatal(err)
	}
	if e, err := h.Get(large.RunID); err != nil || len(e.Job) != 1<<20 {
		t.Errorf("the newest, which is too large: %v", err)
	}
	list, _, err = h.List("", 100)
	if err != nil || len(list) > 3 {
		t.Errorf("%d runs beside one that fills everything, %v", len(list), err)
	}
	shut(t, h)
	// What is counted is counted again from the disk.
	h = open(t, path, limits)
	defer shut(t, h)
	for n := range 20 {
		finish(t, h, 100+n)
	}
	if list, _, err := h.List("", 100); err != nil || len(list) != 10 {
		t.Errorf("%d runs, %v", len(list), err)
	}
}

func TestManyAtOnce(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), File), wide)
	defer shut(t, h)
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for n := range 10 {
				id := worker*10 + n
				err := h.Begin(entry(id), nonce(id))
				if err == nil {
					err = h.End(done(entry(id)))
				}
				e, got := h.Get(entry(id).RunID)
				if err = errors.Join(err, got); err != nil || e.State != Done {
					t.Errorf("run %d: %+v, %v", id, e, err)
				}
			}
		})
	}
	all.Wait()
	if list, more, err := h.List("", 1000); err != nil || more || len(list) != 160 {
		t.Errorf("%d runs, %v", len(list), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, File)
	h := open(t, path, wide)
	finish(t, h, 1)
	if _, err := Open(path, wide); !errors.Is(err, ErrInUse) {
		t.Errorf("twice: %v", err)
	}
	shut(t, h)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"text":          []byte("this is no database, however long it is made to be"),
		"torn":          whole[:len(whole)/3],
		"pages of ones": append(bytes.Clone(whole[:2*os.Getpagesize()]), bytes.Repeat([]byte{0xff}, len(whole)-2*os.Getpagesize())...),
		"no headers":    append(make([]byte, 2*os.Getpagesize()), whole[2*os.Getpagesize():]...),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := Open(path, wide); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				shut(t, h)
			}
		}
	}
	if _, err := Open(filepath.Join(dir, "none", File), wide); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("no folder: %v", err)
	}
}

// A history that this user may not open is not damaged, so nobody sets it aside.
func TestOpenOfAnotherUser(t *testing.T) {
	const nobody = 65534
	dir := t.TempDir()
	path := filepath.Join(dir, File)
	h := open(t, path, wide)
	finish(t, h, 1)
	shut(t, h)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	refused := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // the thread ends with the goroutine
			if err := syscall.Setfsuid(nobody); err != nil {
				refused <- err
				return
			}
		}
		refused <- check(path)
	}()
	if err := <-refused; !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrDamaged) {
		t.Errorf("it is said to be: %v", err)
	}
}

// A receipt that cannot be kept is not handed out, and the run does not count
// as one that ran.
func TestEndThatCannotBeRecorded(t *testing.T) {
	h := open(t, "", wide)
	if err := h.Begin(entry(1), nonce(1)); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.End(done(entry(1))); err == nil {
		t.Error("it was recorded nowhere")
	}
	if e, err := h.Get(entry(1).RunID); err != nil || e.State != Refused || e.Receipt != nil || e.Outcome != nil {
		t.Errorf("%+v, %v", e, err)
	}
	shut(t, h)
	if err := h.End(done(entry(1))); err == nil {
		t.Error("after the end")
	}
}
