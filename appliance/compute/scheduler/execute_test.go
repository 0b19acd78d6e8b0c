package scheduler

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
)

func offer(t *testing.T, module []byte, change func(*job.Job)) Offer {
	t.Helper()
	j := job.Default(module)
	j.MemoryMB, j.TimeoutSeconds = 1, 600
	if change != nil {
		change(&j)
	}
	spec, err := job.New(j)
	if err != nil {
		t.Fatal(err)
	}
	return Offer{Spec: spec, Module: modulecache.NewModule(module), Nonce: NewNonce()}
}

func runner(t *testing.T) (*Runner, receipt.Pin) {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return NewRunner(id), receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}
}

func TestEveryOutcomeHasAReceipt(t *testing.T) {
	r, pin := runner(t)
	limit := int64(100)
	for want, o := range map[job.Outcome]Offer{
		job.Exited:  offer(t, assembled{}.bytes(), nil),
		job.Trapped: offer(t, assembled{bodies: [][]byte{op(opUnreachable)}}.bytes(), nil),
		job.Timeout: offer(t, assembled{bodies: [][]byte{forever()}}.bytes(), func(j *job.Job) { j.TimeoutSeconds = 1 }),
		job.Memory:  offer(t, assembled{memory: pages(17)}.bytes(), nil),
		job.Output: offer(t, assembled{imports: []string{"fd_write"}, memory: pages(1), data: vec, bodies: [][]byte{forever(write...)}}.bytes(),
			func(j *job.Job) { j.OutputBytes = &limit }),
	} {
		done, err := r.Execute(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		s, err := receipt.Verify(done.Receipt, pin)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if err := s.CheckJob(o.Spec); err != nil || s.Predicate.Outcome != want || s.Predicate.ExitCode != want.ExitCode(0) || done.Outcome != want {
			t.Errorf("%s: the receipt says %s %d: %v", want, s.Predicate.Outcome, s.Predicate.ExitCode, err)
		}
		if want == job.Output && int64(len(done.Stdout)) != limit {
			t.Errorf("%d bytes of output, the limit is %d", len(done.Stdout), limit)
		}
	}
}

// sent is an input that is still being sent.
type sent struct{ io.Reader }

func (sent) Sum() [sha256.Size]byte { return sha256.Sum256(nil) }

func TestRejections(t *testing.T) {
	module := assembled{}.bytes()
	good := offer(t, module, nil)
	named := offer(t, module, func(j *job.Job) { j.StdinHash = job.Hash(nil) })
	named.Input = sent{strings.NewReader("")}
	other, short := good, good
	other.Module, short.Nonce = modulecache.NewModule(append(module, 0)), "AAAA"
	for name, c := range map[string]struct {
		offer  Offer
		reason Reason
	}{
		"another module": {other, InvalidRequest},
		"short nonce":    {short, InvalidRequest},
		"named and sent": {named, InvalidRequest},
		"a component":    {offer(t, []byte("\x00asm\x0d\x00\x01\x00"), nil), RuntimeNotSupported},
		"no module":      {offer(t, []byte("MZ"), nil), InvalidRequest},
		"64 cores":       {offer(t, module, func(j *job.Job) { j.CPUCores = 64 }), InsufficientResources},
	} {
		err := c.offer.check()
		var rejection *Rejection
		if !errors.As(err, &rejection) || rejection.Reason != c.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An input that is sent while the module runs, and output that is passed on as
// it comes, are in the receipt like any other.
func TestStreams(t *testing.T) {
	module, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	r, pin := runner(t)
	o := offer(t, module, func(j *job.Job) { j.MemoryMB, j.Args = 64, []string{"cat"} })
	o.RunID = NewRunID()
	var stdout bytes.Buffer
	o.Input, o.Stdout = sent{strings.NewReader("streamed")}, &stdout
	done, err := r.Execute(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := receipt.Verify(done.Receipt, pin)
	if err != nil || stdout.String() != "streamed" || len(done.Stdout) != 0 || s.Predicate.RunID != o.RunID || done.RunID != o.RunID {
		t.Errorf("%q, %+v, %v", stdout.String(), s.Predicate, err)
	}
	if err := s.CheckStdout(sha256.Sum256(stdout.Bytes())); err != nil {
		t.Error(err)
	}
}
