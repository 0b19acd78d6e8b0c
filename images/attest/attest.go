// Package attest writes what speaks of a release beside its manifest: a bill of
// materials (CycloneDX 1.6, JSON) of all that is linked into it, and its
// provenance, an in-toto Statement v1 with a SLSA Provenance v1 predicate, which
// the key that signs the release signs too. Both follow from their arguments
// alone: the same release gives the same bytes. No node reads either; what may
// be booted is decided by the manifest and package trust.
package attest

import (
	"debug/buildinfo"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
)

// Release is what both documents speak of.
type Release struct {
	Arch string    // x86_64 or arm64
	Name string    // what --version of its programs answers
	Time time.Time // of every file in it

	Artifacts map[string]manifest.Artifact
	Programs  []Program
	Kernel    Kernel
}

// Program is one Go program in the release.
type Program struct {
	Path   string // where it is on a node, such as /user/phase
	SHA256 names.Digest
	Info   *buildinfo.BuildInfo // as it stands in the program
}

// Kernel is where the kernel comes from.
type Kernel struct {
	Linux   string `json:"linux"`   // its version, such as 7.1.2
	Module  string `json:"module"`  // the Go module that holds it
	Version string `json:"version"` // of that module
	Sum     string `json:"sum"`     // of that module, as in go.sum
}

// Build is how the release was made.
type Build struct {
	Builder string   // URI of who says so: the builder's id in SLSA
	Commit  string   // of the checkout, hex
	Go      string   // version of the toolchain, such as go1.26.8
	Tools   []Tool   // programs of others whose output is in the release
	Roots   []Digest // of the roots in the rootfs, version 1 first
}

// Tool is a program of others.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Digest names bytes.
type Digest struct {
	Name   string
	SHA256 names.Digest
}
