package receipt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"phase/appliance/compute/job"
)

// CheckJob refuses a receipt of another job than spec: another
// file, module, arguments, environment or input, or other limits than it set.
func (s Statement) CheckJob(spec job.Spec) error {
	p, asked := s.Predicate, spec.Job()
	for _, field := range []struct{ name, receipt, job string }{
		{"job_id", p.JobID, spec.ID()},
		{"module_hash", p.ModuleHash, asked.ModuleHash},
		{"args_sha256", p.ArgsSHA256, spec.ArgsSHA256()},
		{"env_sha256", p.EnvSHA256, spec.EnvSHA256()},
		{"limits.cpu_cores", fmt.Sprint(p.Limits.CPUCores), fmt.Sprint(asked.CPUCores)},
		{"limits.memory_mb", fmt.Sprint(p.Limits.MemoryMB), fmt.Sprint(asked.MemoryMB)},
		// A run without a job file may have been given a fraction of a second.
		{"limits.timeout_seconds", fmt.Sprint(math.Ceil(p.Limits.TimeoutSeconds)), fmt.Sprint(asked.TimeoutSeconds)},
	} {
		if field.receipt != field.job {
			return fmt.Errorf("the receipt is of another job: %s is %s, the job's is %s", field.name, field.receipt, field.job)
		}
	}
	if asked.StdinHash != "" && "sha256:"+p.StdinSHA256 != asked.StdinHash {
		return fmt.Errorf("the receipt is of another input: stdin_sha256 is %s, the job's stdin_hash is %s", p.StdinSHA256, asked.StdinHash)
	}
	// Output that was not limited (0) was not cut either.
	if got := p.Limits.OutputBytes; got != 0 && got != spec.OutputBytes() {
		return fmt.Errorf("the receipt is of another job: limits.output_bytes is %d, the job's is %d", got, spec.OutputBytes())
	}
	return nil
}

// CheckNonce refuses a receipt for another offer than the one with this nonce.
func (s Statement) CheckNonce(nonce string) error {
	if s.Predicate.OfferNonce != nonce {
		return fmt.Errorf("the receipt answers another offer: offer_nonce is %.40q, ours was %.40q", s.Predicate.OfferNonce, nonce)
	}
	return nil
}

// CheckStdin refuses a receipt of another input than the one whose SHA-256 this is.
func (s Statement) CheckStdin(sum [sha256.Size]byte) error {
	if got := hex.EncodeToString(sum[:]); got != s.Predicate.StdinSHA256 {
		return fmt.Errorf("the receipt is of another input: stdin_sha256 is %s, that of what was sent is %s", s.Predicate.StdinSHA256, got)
	}
	return nil
}

// CheckStdout refuses output whose SHA-256 is not the one the receipt signs.
func (s Statement) CheckStdout(sum [sha256.Size]byte) error { return s.checkOutput(0, sum) }

// CheckStderr is CheckStdout for the other stream.
func (s Statement) CheckStderr(sum [sha256.Size]byte) error { return s.checkOutput(1, sum) }

func (s Statement) checkOutput(i int, sum [sha256.Size]byte) error {
	if got := hex.EncodeToString(sum[:]); got != s.Subject[i].Digest["sha256"] {
		return fmt.Errorf("the %s is not what the receipt signs: its SHA-256 is %s, the receipt's %s", s.Subject[i].Name, got, s.Subject[i].Digest["sha256"])
	}
	return nil
}
