package images

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/ui"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
	"phase/images/rotation"
)

// Documents is what inspect answers of roots and manifests.
type Documents struct {
	Fleet     string         `json:"fleet"` // "" where no version 1 was seen
	Roots     []RootInfo     `json:"roots"`
	Manifests []ManifestInfo `json:"manifests"`
	Images    []ListInfo     `json:"images"`
	Warnings  []string       `json:"warnings"` // of what expires soon
	Problems  []string       `json:"problems"`
}

// RootInfo is one root.
type RootInfo struct {
	File    string    `json:"file"`
	Version uint64    `json:"version"`
	Expires time.Time `json:"expires"`
	// Changes since the version before, or all of it where that is not known.
	Changes []string `json:"changes"`
	// Signatures that it must carry.
	Signatures []rotation.Signatures `json:"signatures"`
}

// ManifestInfo is one manifest.
type ManifestInfo struct {
	File     string            `json:"file"`
	Version  uint64            `json:"version"`
	Name     string            `json:"name"`
	Channel  string            `json:"channel"`
	Arch     string            `json:"arch"`
	Created  time.Time         `json:"created"`
	Expires  time.Time         `json:"expires"`
	Digest   names.Digest      `json:"digest"`
	Rollout  *manifest.Rollout `json:"rollout"` // null for all nodes
	SignedBy []string          `json:"signed_by"`
	Verified *bool             `json:"verified"` // null: no root to verify with
	Attested *AttestedInfo     `json:"attested"` // null: no provenance beside it
	headline string
}

// ListInfo is one list of images.
type ListInfo struct {
	File     string `json:"file"`
	Verified *bool  `json:"verified"` // null: no root to verify with
	List
}

func newDocuments() Documents {
	return Documents{Roots: []RootInfo{}, Manifests: []ManifestInfo{}, Images: []ListInfo{}, Warnings: []string{}, Problems: []string{}}
}

func (d *Documents) problem(err error) { d.Problems = append(d.Problems, ui.Clean(err.Error())) }

// root adds a root, which must be one of those known, or follow from one. None
// known judges nothing but the root's own signatures.
func (d *Documents) root(file string, env envelope.Envelope, known []trust.Root) error {
	draft, err := trust.ParseDraft(env.Raw())
	if err != nil {
		return err
	}
	spec := draft.Spec()
	var before trust.Root
	for _, root := range known {
		if root.Version() == spec.Version-1 {
			before = root
		}
	}
	signatures := rotation.Carried(draft, before)
	d.Roots = append(d.Roots, RootInfo{file, spec.Version, spec.Expires, rotation.Differences(before.Spec(), spec), signatures})
	for _, s := range signatures {
		if s.Missing > 0 {
			d.problem(fmt.Errorf("root version %d: %d of %d signatures by role root of version %d", spec.Version, len(s.Signed), s.Threshold, s.By))
		}
	}
	is := func(root trust.Root) bool { return root.Digest() == names.Sum(env.Payload) }
	if len(known) > 0 && before.Version() == 0 && !slices.ContainsFunc(known, is) {
		d.problem(fmt.Errorf("root version %d is not one of the chain that was named, and does not follow from it", spec.Version))
	}
	return nil
}

// lateRoot warns of a root that expires soon.
func (d *Documents) lateRoot(root RootInfo, now time.Time) {
	if ending := trust.Ending(fmt.Sprintf("root version %d", root.Version), root.Expires, now); ending != "" {
		d.Warnings = append(d.Warnings, ending)
	}
}

// manifest adds a manifest, verified by a root unless it is the zero Root.
func (d *Documents) manifest(file string, env envelope.Envelope, root trust.Root, now time.Time) error {
	m, err := manifest.Parse(env.Payload)
	if err != nil {
		return err
	}
	digest := names.Sum(env.Payload)
	info := ManifestInfo{
		File: file, Version: m.Version, Name: m.Name, Channel: m.Channel, Arch: m.Arch, Created: m.Created, Expires: m.Expires,
		Digest: digest, Rollout: m.Rollout, SignedBy: []string{}, headline: headline(m, digest),
	}
	if root.Version() > 0 {
		info.SignedBy = append(info.SignedBy, env.SignedBy(root.Spec().Keys())...)
		_, err := root.VerifyHeld(env.Raw(), trust.Any, trust.Any)
		ok := err == nil
		if info.Verified = &ok; !ok {
			d.problem(fmt.Errorf("%s by root version %d: %w", file, root.Version(), err))
		}
	}
	if filepath.Base(file) == layout.ManifestFile {
		if info.Attested, err = readAttested(filepath.Dir(file), m, root); err != nil {
			d.problem(fmt.Errorf("beside %s: %w", file, err))
		}
	}
	d.Manifests = append(d.Manifests, info)
	d.Warnings = append(d.Warnings, lateManifest(fmt.Sprintf("%s/%s version %d", m.Channel, m.Arch, m.Version), m.Created, m.Expires, now)...)
	return nil
}

// list adds a list of images, verified by a root unless it is the zero Root.
func (d *Documents) list(file string, env envelope.Envelope, root trust.Root) error {
	l, err := ParseList(env.Payload)
	if err != nil {
		return err
	}
	info := ListInfo{File: file, List: l}
	if root.Version() > 0 {
		_, err := VerifyList(env.Raw(), root)
		ok := err == nil
		if info.Verified = &ok; !ok {
			d.problem(fmt.Errorf("%s by root version %d: %w", file, root.Version(), err))
		}
	}
	d.Images = append(d.Images, info)
	return nil
}

// lateManifest warns of a release that expires soon, or that is past half its
// life, when the next one should be on its way.
func lateManifest(what string, created, expires, now time.Time) []string {
	if ending := trust.Ending(what, expires, now); ending != "" {
		return []string{ending}
	}
	if half := created.Add(expires.Sub(created) / 2); expires.After(created) && now.After(half) {
		return []string{fmt.Sprintf("%s is past half its life: it expires on %s", what, expires.UTC().Format(time.RFC3339))}
	}
	return nil
}

// verdict says whether a signature was verified.
func verdict(verified *bool) string {
	if verified == nil {
		return "not verified, give --root FILE"
	}
	return map[bool]string{true: "signature verified", false: "REFUSED"}[*verified]
}

func (d Documents) print(w io.Writer) error {
	if d.Fleet != "" {
		fmt.Fprintln(w, "fleet", d.Fleet)
	}
	for _, r := range d.Roots {
		fmt.Fprintf(w, "root version %d, expires %s (%s)\n", r.Version, r.Expires.Format(time.RFC3339), r.File)
		for _, change := range r.Changes {
			fmt.Fprintln(w, " ", change)
		}
		for _, s := range r.Signatures {
			fmt.Fprintf(w, "  signed by %d of role root of version %d, %d must\n", len(s.Signed), s.By, s.Threshold)
		}
	}
	for _, l := range d.Images {
		fmt.Fprintf(w, "%s, %s (%s)\n", strings.Join(l.words(), "\n  "), verdict(l.Verified), l.File)
	}
	for _, m := range d.Manifests {
		fmt.Fprintf(w, "%s, %s (%s)\n", ui.Clean(m.headline), verdict(m.Verified), m.File)
		fmt.Fprintf(w, "  created %s, expires %s\n", m.Created.Format(time.RFC3339), m.Expires.Format(time.RFC3339))
		if words := rolloutWords(m.Rollout); words != "" {
			fmt.Fprintln(w, " ", words)
		}
		for _, id := range slices.Sorted(slices.Values(m.SignedBy)) {
			fmt.Fprintln(w, "  signed by", id)
		}
		if m.Attested != nil {
			fmt.Fprintln(w, " ", strings.Join(m.Attested.words(), "\n  "))
		}
	}
	var err error
	for _, text := range d.Warnings {
		_, err = fmt.Fprintln(w, "warning:", text)
	}
	return err
}
