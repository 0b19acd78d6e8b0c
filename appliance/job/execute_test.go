package job

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"phase/appliance/identity"
	"phase/appliance/jobspec"
	"phase/appliance/receipt"
)

func offer(t *testing.T, module []byte, change func(*jobspec.Job)) Offer {
	t.Helper()
	j := jobspec.Default(module)
	j.MemoryMB = 1
	if change != nil {
		change(&j)
	}
	spec, err := jobspec.New(j)
	if err != nil {
		t.Fatal(err)
	}
	return Offer{Spec: spec, Module: module, Nonce: NewNonce()}
}

func runner(t *testing.T, queue int) (*Runner, receipt.Pin) {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return NewRunner(id, queue), receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}
}

func TestEveryOutcomeHasAReceipt(t *testing.T) {
	r, pin := runner(t, 0)
	limit := int64(100)
	for want, o := range map[jobspec.Outcome]Offer{
		jobspec.Exited:  offer(t, assembled{}.bytes(), nil),
		jobspec.Trapped: offer(t, assembled{bodies: [][]byte{op(opUnreachable)}}.bytes(), nil),
		jobspec.Timeout: offer(t, assembled{bodies: [][]byte{forever()}}.bytes(), func(j *jobspec.Job) { j.TimeoutSeconds = 1 }),
		jobspec.Memory:  offer(t, assembled{memory: pages(17)}.bytes(), nil),
		jobspec.Output: offer(t, assembled{imports: []string{"fd_write"}, memory: pages(1), data: vec, bodies: [][]byte{forever(write...)}}.bytes(),
			func(j *jobspec.Job) { j.OutputBytes = &limit }),
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
		if want == jobspec.Output && int64(len(done.Stdout)) != limit {
			t.Errorf("%d bytes of output, the limit is %d", len(done.Stdout), limit)
		}
	}
}

func TestRejections(t *testing.T) {
	r, _ := runner(t, 0)
	reason := func(err error) Reason {
		var rejection *Rejection
		if !errors.As(err, &rejection) {
			return Reason("not a rejection")
		}
		return rejection.Reason
	}
	good := offer(t, assembled{}.bytes(), nil)
	if _, err := r.Execute(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Execute(t.Context(), good); reason(err) != InvalidRequest {
		t.Errorf("the same offer again: %v", err)
	}
	for range cap(r.waiting) {
		r.waiting <- struct{}{}
	}
	if _, err := r.Execute(t.Context(), offer(t, assembled{}.bytes(), nil)); reason(err) != QueueFull {
		t.Errorf("no room: %v", err)
	}
	<-r.waiting
	for range cap(r.running) {
		r.running <- struct{}{}
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := r.Execute(left, offer(t, assembled{}.bytes(), nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("left while waiting: %v", err)
	}
}
