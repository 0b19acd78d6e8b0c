package attest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
)

// The names of the formats, see
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and
// https://slsa.dev/spec/v1.0/provenance.
const (
	PayloadType   = "application/vnd.in-toto+json"
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"

	// BuildType says how to read the parameters of a build: docs/releasing.md.
	BuildType = "urn:phase:images-build:v1"
)

// Statement is the payload of a provenance.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Named   `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Predicate `json:"predicate"`
}

// Predicate says how the subjects were made.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is all that the bytes depend on.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   Parameters `json:"externalParameters"`
	ResolvedDependencies []Named    `json:"resolvedDependencies"`
}

// Parameters of `images build` that are in the artifacts. What the manifest says
// besides (version, channel, expiry) may be signed anew for the same artifacts.
type Parameters struct {
	Arch    string    `json:"arch"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"` // --created, the time of every file
	Roots   []Named   `json:"roots"`   // the roots in the rootfs
}

// RunDetails is who made them. No time is in it, so that it can be made again.
type RunDetails struct {
	Builder    Builder `json:"builder"`
	Byproducts []Named `json:"byproducts"` // the bill of materials
}

// Builder is who built, in SLSA's words.
type Builder struct {
	ID string `json:"id"`
}

// Named is a ResourceDescriptor of in-toto.
type Named struct {
	Name   string            `json:"name"`
	URI    string            `json:"uri,omitzero"`
	Digest map[string]string `json:"digest,omitzero"`
}

func named(name string, d names.Digest) Named {
	return Named{Name: name, Digest: map[string]string{"sha256": d.Hex()}}
}

// Provenance writes the statement of how r was made. sbom is its bill of
// materials.
func Provenance(r Release, b Build, sbom []byte) ([]byte, error) {
	s := Statement{Type: StatementType, PredicateType: PredicateType}
	for _, name := range slices.Sorted(maps.Keys(r.Artifacts)) {
		s.Subject = append(s.Subject, named(layout.FileName(name), r.Artifacts[name].SHA256))
	}
	p := Parameters{Arch: r.Arch, Name: r.Name, Created: r.Time.UTC()}
	for _, root := range b.Roots {
		p.Roots = append(p.Roots, named(root.Name, root.SHA256))
	}
	from := []Named{
		{Name: "source", Digest: map[string]string{"gitCommit": b.Commit}},
		{Name: "go", URI: "pkg:generic/go@" + b.Go},
		{Name: "kernel", URI: ref(r.Kernel.Module, r.Kernel.Version)},
	}
	for _, tool := range b.Tools {
		from = append(from, Named{Name: tool.Name, URI: "pkg:generic/" + tool.Name + "@" + tool.Version})
	}
	s.Predicate = Predicate{
		BuildDefinition{BuildType, p, from},
		RunDetails{Builder{b.Builder}, []Named{named(layout.SBOMFile, names.Sum(sbom))}},
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("writing the provenance: %w", err)
	}
	payload, err := strictjson.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the provenance: %w", err)
	}
	return payload, nil
}

// Parse reads the payload of a provenance. Who signed it is for the caller to ask.
func Parse(env envelope.Envelope) (s Statement, err error) {
	if env.PayloadType != PayloadType {
		return s, fmt.Errorf("reading the provenance: payload type %.80q is not %q", env.PayloadType, PayloadType)
	}
	if err := strictjson.Unmarshal(env.Payload, &s); err != nil {
		return s, fmt.Errorf("reading the provenance: %w", err)
	}
	if err := s.check(); err != nil {
		return s, fmt.Errorf("reading the provenance: %w", err)
	}
	return s, nil
}

// check holds what is written and what is read to the form above.
func (s Statement) check() error {
	build := s.Predicate.BuildDefinition
	switch {
	case s.Type != StatementType || s.PredicateType != PredicateType:
		return fmt.Errorf("%.80q about %.80q is no statement of how something was built", s.Type, s.PredicateType)
	case build.BuildType != BuildType:
		return fmt.Errorf("build type %.80q is not %q", build.BuildType, BuildType)
	case s.Predicate.RunDetails.Builder.ID == "":
		return errors.New("it names no builder")
	case s.commit() == "":
		return errors.New("it names no commit")
	case len(s.Subject) < len(manifest.Required) || len(s.Subject) > manifest.MaxArtifacts:
		return fmt.Errorf("it speaks of %d artifacts, %d to %d can be", len(s.Subject), len(manifest.Required), manifest.MaxArtifacts)
	}
	return nil
}

func (s Statement) commit() string {
	for _, from := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if from.Digest["gitCommit"] != "" {
			return from.Digest["gitCommit"]
		}
	}
	return ""
}

// Summary is what a provenance says.
type Summary struct {
	Builder string   `json:"builder"`
	Commit  string   `json:"commit"`
	From    []string `json:"from"` // URIs of the toolchain, the kernel and the tools
}

// Summary of s, for people.
func (s Statement) Summary() Summary {
	sum := Summary{Builder: s.Predicate.RunDetails.Builder.ID, Commit: s.commit(), From: []string{}}
	for _, from := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if from.URI != "" {
			sum.From = append(sum.From, from.URI)
		}
	}
	return sum
}

// Covers refuses a provenance that does not speak of exactly these artifacts
// and this bill of materials.
func (s Statement) Covers(artifacts map[string]manifest.Artifact, sbom []byte) error {
	said := map[string]string{}
	for _, subject := range s.Subject {
		said[subject.Name] = subject.Digest["sha256"]
	}
	for name, a := range artifacts {
		if said[layout.FileName(name)] != a.SHA256.Hex() {
			return fmt.Errorf("it does not speak of this %s", layout.FileName(name))
		}
	}
	if len(said) != len(artifacts) {
		return fmt.Errorf("it speaks of %d artifacts, the release has %d", len(said), len(artifacts))
	}
	for _, by := range s.Predicate.RunDetails.Byproducts {
		if by.Name == layout.SBOMFile && by.Digest["sha256"] == names.Sum(sbom).Hex() {
			return nil
		}
	}
	return fmt.Errorf("it does not speak of this %s", layout.SBOMFile)
}
