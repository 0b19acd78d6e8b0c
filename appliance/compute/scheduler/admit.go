package scheduler

import (
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

// Check refuses an offer that this node would not run, before its module and its
// input are sent. The error is a *Rejection, or that the history cannot be read.
func (p *Place) Check(spec job.Spec, nonce string) error {
	o := Offer{Spec: spec, Nonce: nonce}
	if err := p.of.allows(o); err != nil {
		return err
	}
	if err := o.checkCores(); err != nil {
		return err
	}
	raw, err := parseNonce(nonce)
	if err != nil {
		return err
	}
	if seen, err := p.of.history.Seen(raw); err != nil {
		return err
	} else if seen {
		return errSeen()
	}
	return nil
}

// Wait estimates how long a job would wait now before it begins: nothing where
// there is room for it, else as long as jobs usually take for each that stands
// before it. It is no promise.
func (p *Place) Wait(spec job.Spec) time.Duration {
	s, want := p.of, spec.Job()
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.cores+want.CPUCores <= s.limits.Cores && s.memory+want.MemoryMB <= s.limits.MemoryMB
	if room && len(s.waiting) == 0 {
		return 0
	}
	return s.usual * time.Duration(len(s.waiting)+1) / time.Duration(max(1, s.running))
}

// parseNonce returns the bytes of an offer_nonce: one nonce, however it is
// spelled. The error is a *Rejection.
func parseNonce(nonce string) ([]byte, error) {
	if err := receipt.CheckNonce(nonce); err != nil {
		return nil, reject(InvalidRequest, "%v", err)
	}
	raw, err := strictjson.Base64(nonce)
	if err != nil {
		return nil, reject(InvalidRequest, "offer_nonce: %v", err)
	}
	return raw, nil
}

func errSeen() error {
	return reject(InvalidRequest, "offer_nonce: this offer has been run already; choose another nonce")
}
