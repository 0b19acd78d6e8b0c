// Package manifest reads and writes the document that describes a release: its
// version, channel and arch, its command line, and its artifacts, each by size
// and SHA-256. The document is the payload of a signed envelope. Whether it may
// be believed is the question of package trust, so that nothing else should
// call Parse on what came from outside.
package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
)

const (
	// PayloadType is the DSSE payload type of a manifest.
	PayloadType = "application/vnd.phase.release.v1+json"
	// MaxVersion is 2^53-1, the largest integer JSON carries exactly.
	MaxVersion = strictjson.MaxInteger
	// MaxArtifacts is how many artifacts one manifest may name.
	MaxArtifacts = 64
	// MaxArtifactSize is the largest artifact, in bytes: 1 GiB.
	MaxArtifactSize = 1 << 30
	maxName         = 128
	// maxSeed is the longest seed of a rollout, in bytes.
	maxSeed = 128
)

// Required are the artifacts without which there is no release.
var Required = []string{"kernel", "initramfs", "rootfs"}

// Artifact is one file of a release.
type Artifact struct {
	// Size in bytes, exactly.
	Size int64
	// SHA256 of those bytes.
	SHA256 names.Digest
}

// Rollout offers a release to a part of a fleet first; package rollout says to
// which.
type Rollout struct {
	// Percent of the nodes that take the release, 0 to 100.
	Percent int `json:"percent"`
	// Seed draws the nodes; "" stands for the digest of the rootfs. Two
	// releases with the same seed are taken by the same nodes first.
	Seed string `json:"seed,omitempty"`
}

// Manifest describes one release.
type Manifest struct {
	// Version is monotonic per channel and arch, 1 to MaxVersion.
	Version uint64
	// Name is for people, "2026.11.23".
	Name string
	// Channel is stable, testing or nightly.
	Channel string
	// Arch is x86_64 or arm64.
	Arch string
	// Created also raises the clock's floor; Expires ends the acceptance from
	// the network. Both UTC.
	Created, Expires time.Time
	// Cmdline is the new kernel's command line before the running one's
	// phase.* and console= are added.
	Cmdline string
	// Artifacts by name; kernel, initramfs and rootfs are always there.
	Artifacts map[string]Artifact
	// Rollout is nil when all nodes take the release.
	Rollout *Rollout
}

// Fields are pointers where absence must be told from a zero value.
type wire struct {
	Version   uint64                  `json:"version"`
	Name      string                  `json:"name"`
	Channel   string                  `json:"channel"`
	Arch      string                  `json:"arch"`
	Created   *time.Time              `json:"created"`
	Expires   *time.Time              `json:"expires"`
	Cmdline   *string                 `json:"cmdline"`
	Artifacts map[string]wireArtifact `json:"artifacts"`
	Rollout   *wireRollout            `json:"rollout,omitempty"`
}

type wireRollout struct {
	Percent *int   `json:"percent"`
	Seed    string `json:"seed,omitempty"`
}

type wireArtifact struct {
	Size   *int64 `json:"size"`
	SHA256 string `json:"sha256"`
}

// Parse reads the payload of a release envelope. Unknown fields are ignored;
// every field of the format must be there and within its bounds.
func Parse(payload []byte) (Manifest, error) {
	m, err := parse(payload)
	if err != nil {
		return Manifest{}, fmt.Errorf("reading the manifest: %w", err)
	}
	return m, nil
}

func parse(payload []byte) (Manifest, error) {
	var w wire
	if err := strictjson.Unmarshal(payload, &w); err != nil {
		return Manifest{}, err
	}
	if w.Created == nil || w.Expires == nil || w.Cmdline == nil {
		return Manifest{}, errors.New("created, expires and cmdline must be there")
	}
	m := Manifest{
		Version: w.Version, Name: w.Name, Channel: w.Channel, Arch: w.Arch,
		Created: w.Created.UTC(), Expires: w.Expires.UTC(), Cmdline: *w.Cmdline,
		Artifacts: make(map[string]Artifact, len(w.Artifacts)),
	}
	for _, name := range slices.Sorted(maps.Keys(w.Artifacts)) {
		a := w.Artifacts[name]
		if a.Size == nil {
			return Manifest{}, fmt.Errorf("artifact %.64q: size must be there", name)
		}
		digest, err := names.ParseHex(a.SHA256)
		if err != nil {
			return Manifest{}, fmt.Errorf("artifact %.64q: %w", name, err)
		}
		m.Artifacts[name] = Artifact{Size: *a.Size, SHA256: digest}
	}
	if w.Rollout != nil {
		if w.Rollout.Percent == nil {
			return Manifest{}, errors.New("rollout: percent must be there")
		}
		m.Rollout = &Rollout{Percent: *w.Rollout.Percent, Seed: w.Rollout.Seed}
	}
	return m, m.check()
}

// Payload is the manifest as the JSON that gets signed; the same manifest
// gives the same bytes. What Parse would refuse is not written.
func (m Manifest) Payload() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("writing a manifest: %w", err)
	}
	created, expires := m.Created.UTC(), m.Expires.UTC()
	w := wire{
		Version: m.Version, Name: m.Name, Channel: m.Channel, Arch: m.Arch,
		Created: &created, Expires: &expires, Cmdline: &m.Cmdline,
		Artifacts: make(map[string]wireArtifact, len(m.Artifacts)),
	}
	for name, a := range m.Artifacts {
		w.Artifacts[name] = wireArtifact{Size: &a.Size, SHA256: a.SHA256.Hex()}
	}
	if m.Rollout != nil {
		w.Rollout = &wireRollout{Percent: &m.Rollout.Percent, Seed: m.Rollout.Seed}
	}
	payload, err := strictjson.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("writing a manifest: %w", err)
	}
	return payload, nil
}
