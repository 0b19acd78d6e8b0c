package scheduler

import (
	"crypto/sha256"
	"errors"

	"phase/appliance/compute/receipt"
)

// Verify holds the receipt of a job to the node that was asked, to everything
// that was asked and to everything that came back. Of an offer with outputs of
// its own, Done holds none: there Stdout and Stderr are to be set first.
func (d Done) Verify(o Offer, pin receipt.Pin) error {
	return d.VerifyDigests(o, pin, sha256.Sum256(d.Stdout), sha256.Sum256(d.Stderr))
}

// VerifyDigests is Verify for outputs of which only the SHA-256 is left.
func (d Done) VerifyDigests(o Offer, pin receipt.Pin, stdout, stderr [sha256.Size]byte) error {
	s, err := receipt.Verify(d.Receipt, pin)
	if err != nil {
		return err
	}
	stdin := d.Input
	if o.Input == nil {
		stdin = sha256.Sum256(o.Stdin)
	}
	for _, err := range []error{
		s.CheckJob(o.Spec), s.CheckNonce(o.Nonce),
		s.CheckStdout(stdout), s.CheckStderr(stderr),
		s.CheckStdin(stdin),
	} {
		if err != nil {
			return err
		}
	}
	p := s.Predicate
	if p.RunID != d.RunID || p.JobID != d.JobID || p.Outcome != d.Outcome || p.ExitCode != d.ExitCode {
		return errors.New("checking the receipt: it is not of the run that was answered")
	}
	return nil
}
