// Package capability says what a node can do: a short-lived record that the node
// signs, and how a requester picks among such records. It is pure.
package capability

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
)

// PayloadType is the media type of a record in its envelope.
const PayloadType = "application/vnd.phase.node.v1+json"

const (
	// MaxBytes is the largest record with its envelope.
	MaxBytes = 8 << 10
	// Version is the only version of the record there is.
	Version = 1
	// Lifetime is how long a record is valid unless its node says otherwise.
	Lifetime = time.Minute
	// MaxLifetime is the longest a record may be valid: what it says of load and
	// memory is of one moment.
	MaxLifetime = time.Hour
	// MaxSkew is how far the clock of a node may be before that of the reader.
	MaxSkew = 5 * time.Minute

	maxRuntimes = 16
	// MaxFailed is how many failed releases a record may name.
	MaxFailed = 8
	maxText   = 128
)

// Record is what a node can do. Memory is in MiB. Which key signs it is in the
// peer id.
type Record struct {
	Version        int       `json:"version"`
	PeerID         string    `json:"peer_id"`
	Arch           string    `json:"arch"`           // x86_64 or arm64
	Cores          int       `json:"cores"`          // that jobs may have, all together
	MemoryMB       int       `json:"memory_mb"`      // the same
	FreeMB         int       `json:"memory_free_mb"` // …that no job has now
	TimeoutSeconds int       `json:"timeout_seconds"`
	OutputBytes    int64     `json:"output_bytes"`
	Runtimes       []Runtime `json:"runtimes"`
	Load           Load      `json:"load"`
	Accept         string    `json:"accept"` // whose jobs: none, some (named peers) or all
	Release        Release   `json:"release"`
	Failed         []Failed  `json:"failed,omitempty"` // releases that did not come up on the node
	Issued         time.Time `json:"issued"`
	Expires        time.Time `json:"expires"`
}

// Runtime is something that runs modules, and the system interfaces it has.
type Runtime struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Profiles []string `json:"profiles"`
}

// Load is how busy a node is, in jobs.
type Load struct {
	Running int `json:"running"`
	Waiting int `json:"waiting"`
	Queue   int `json:"queue"` // that may wait
}

// Release is what a node has booted; the zero value is that it does not run as
// one, like a laptop.
type Release struct {
	Version int64  `json:"version"`
	Digest  string `json:"digest"` // sha256:…, "" without a release
	Channel string `json:"channel"`
}

// Failed is a release that a node started and that did not come up.
type Failed struct {
	Version int64  `json:"version"` // 0 when it is not known
	Digest  string `json:"digest"`  // sha256:…
	Reason  string `json:"reason"`
}

// Plain cuts a reason to what a record may say.
func Plain(reason string) string {
	reason = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, reason)
	return reason[:min(len(reason), maxText)]
}

// Sign writes a record and has it signed by sign, the node's identity. It
// returns the envelope if Verify accepts it with that key now: a node hands out
// nothing that others would have to refuse.
func Sign(r Record, key ed25519.PublicKey, now time.Time, sign func(payloadType string, payload []byte) ([]byte, error)) ([]byte, error) {
	r.Version = Version
	payload, err := strictjson.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing the capability record: %w", err)
	}
	data, err := sign(PayloadType, payload)
	if err == nil {
		_, err = Verify(data, r.PeerID, key, now)
	}
	if err != nil {
		return nil, fmt.Errorf("signing the capability record: %w", err)
	}
	return data, nil
}

// Errors of Verify that callers branch on.
var (
	ErrSignature = errors.New("the capability record is not signed by the node that was asked")
	ErrExpired   = errors.New("the capability record has expired")
	ErrClock     = errors.New("the capability record is from the future: compare the clocks of both nodes")
)

// Verify reads a record (at most MaxBytes) and returns it if it is peerID's own,
// signed by that node's key, and valid now.
func Verify(data []byte, peerID string, key ed25519.PublicKey, now time.Time) (Record, error) {
	if len(data) > MaxBytes {
		return Record{}, fmt.Errorf("reading the capability record: %d bytes, at most %d are allowed", len(data), MaxBytes)
	}
	env, err := envelope.Parse(data)
	if err != nil {
		return Record{}, fmt.Errorf("reading the capability record: %w", err)
	}
	if env.PayloadType != PayloadType {
		return Record{}, fmt.Errorf("reading the capability record: payload type %.80q is not %q", env.PayloadType, PayloadType)
	}
	if len(env.SignedBy(map[string]ed25519.PublicKey{envelope.KeyID(key): key})) == 0 {
		return Record{}, fmt.Errorf("checking the capability record: %w (%s)", ErrSignature, peerID)
	}
	var r Record
	if err := strictjson.Unmarshal(env.Payload, &r); err != nil {
		return Record{}, fmt.Errorf("reading the capability record: %w", err)
	}
	if err := r.check(); err != nil {
		return Record{}, fmt.Errorf("reading the capability record: %w", err)
	}
	const text = "2006-01-02T15:04:05Z"
	issued, expires, here := r.Issued.UTC().Format(text), r.Expires.UTC().Format(text), now.UTC().Format(text)
	switch {
	case r.PeerID != peerID:
		return Record{}, fmt.Errorf("checking the capability record: %w: it speaks of %.80q", ErrSignature, r.PeerID)
	case r.Issued.Sub(now) > MaxSkew:
		return Record{}, fmt.Errorf("checking the capability record: %w: it was issued at %s, it is %s here, and clocks may differ by %v", ErrClock, issued, here, MaxSkew)
	case !r.Expires.After(now):
		return Record{}, fmt.Errorf("checking the capability record: %w: it was valid until %s, it is %s here; if it is new, compare the clocks of both nodes", ErrExpired, expires, here)
	}
	return r, nil
}

// check holds a record to its form.
func (r Record) check() error {
	switch {
	case r.Version != Version:
		return fmt.Errorf("version %d is not known, %d is", r.Version, Version)
	case !slices.Contains(names.Arches, r.Arch):
		return fmt.Errorf("arch %.20q is not known", r.Arch)
	case r.Cores < 1 || r.MemoryMB < 1 || r.TimeoutSeconds < 1 || r.OutputBytes < 1:
		return errors.New("cores, memory_mb, timeout_seconds and output_bytes must be 1 or more")
	case r.FreeMB < 0 || r.FreeMB > r.MemoryMB:
		return errors.New("memory_free_mb must be from 0 to memory_mb")
	case r.Load.Running < 0 || r.Load.Waiting < 0 || r.Load.Queue < 0:
		return errors.New("load must not be negative")
	case r.Accept != "none" && r.Accept != "some" && r.Accept != "all":
		return fmt.Errorf("accept %.20q is none of none, some and all", r.Accept)
	case r.Issued.IsZero() || !r.Expires.After(r.Issued) || r.Expires.Sub(r.Issued) > MaxLifetime:
		return fmt.Errorf("it must expire after it is issued, and within %v", MaxLifetime)
	case len(r.Failed) > MaxFailed:
		return fmt.Errorf("failed must be at most %d releases", MaxFailed)
	case len(r.Runtimes) == 0 || len(r.Runtimes) > maxRuntimes:
		return fmt.Errorf("runtimes must be 1 to %d", maxRuntimes)
	}
	texts := []string{r.Release.Digest, r.Release.Channel}
	for _, t := range r.Runtimes {
		if len(t.Profiles) > maxRuntimes {
			return fmt.Errorf("profiles must be at most %d", maxRuntimes)
		}
		texts = append(append(texts, t.Name, t.Version), t.Profiles...)
	}
	for _, f := range r.Failed {
		if _, err := names.ParseDigest(f.Digest); err != nil || f.Version < 0 {
			return errors.New("failed must name releases by version and digest")
		}
		texts = append(texts, f.Reason)
	}
	for _, t := range texts {
		if len(t) > maxText || bytes.ContainsFunc([]byte(t), func(c rune) bool { return c < ' ' || c > '~' }) {
			return fmt.Errorf("a text is longer than %d bytes, or not printable ASCII", maxText)
		}
	}
	if d := r.Release.Digest; d != "" {
		if _, err := names.ParseDigest(d); err != nil {
			return fmt.Errorf("release.digest: %w", err)
		}
	}
	return nil
}
