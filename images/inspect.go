package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/ui"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// artifact is where an artifact of the release on the disk lies.
func artifact(i *flash.Image, name string, a manifest.Artifact) (*io.SectionReader, error) {
	if name != "rootfs" {
		return i.File(layout.FileName(name))
	}
	p, err := i.Table.Partition(disk.Root)
	if err == nil && p.Size < a.Size {
		err = errors.New("the root partition is smaller than the rootfs")
	}
	return i.Section(p.Start, a.Size), err
}

// Report is what inspect answers.
type Report struct {
	Disk       string          `json:"disk"`
	Signature  string          `json:"mbr_signature"`
	Bytes      int64           `json:"bytes"`
	Sector     int64           `json:"sector"` // bytes
	Partitions []PartitionInfo `json:"partitions"`
	Files      []FileInfo      `json:"files"`
	Settings   []string        `json:"settings"`
	Version    uint64          `json:"version"`
	Name       string          `json:"name"`
	Channel    string          `json:"channel"`
	Arch       string          `json:"arch"`
	Created    time.Time       `json:"created"`
	Expires    time.Time       `json:"expires"`
	Digest     names.Digest    `json:"digest"`
	Verified   *bool           `json:"verified"` // null: no root to verify with
	Artifacts  []ArtifactInfo  `json:"artifacts"`
	Problems   []string        `json:"problems"`
	Warnings   []string        `json:"warnings"` // of what expires soon
}

// PartitionInfo is a partition, in bytes.
type PartitionInfo struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	ID     string `json:"id"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
}

// FileInfo is a file of the boot partition.
type FileInfo struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// ArtifactInfo says whether an artifact is on the disk as it was signed.
type ArtifactInfo struct {
	Name   string       `json:"name"`
	Size   int64        `json:"size"`
	SHA256 names.Digest `json:"sha256"`
	OK     bool         `json:"ok"`
}

// Inspect reads all of the release on a disk. root may be the zero Root: then no
// signature is checked, only that the disk holds what its manifest says.
func Inspect(ctx context.Context, from io.ReaderAt, root trust.Root) (Report, error) {
	i, err := flash.OpenImage(from)
	if err != nil {
		return Report{}, err
	}
	r := Report{Disk: i.Table.ID.String(), Signature: fmt.Sprintf("%08x", i.Table.ID.Signature()), Bytes: i.Table.Size, Sector: i.Table.Sector,
		Settings: []string{}, Artifacts: []ArtifactInfo{}, Problems: []string{}}
	for _, p := range i.Table.Partitions {
		r.Partitions = append(r.Partitions, PartitionInfo{p.Number, p.Name, i.Table.PartitionID(p.Number).String(), p.Start, p.Size})
	}
	for name, at := range i.Files {
		r.Files = append(r.Files, FileInfo{name, at.Size})
	}
	slices.SortFunc(r.Files, func(a, b FileInfo) int { return strings.Compare(a.Path, b.Path) })
	if conf, err := i.ReadFile(disk.ConfFile); err != nil {
		r.problem(err)
	} else {
		for line := range strings.Lines(string(conf)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				r.Settings = append(r.Settings, ui.Clean(line))
			}
		}
	}
	if err := r.release(ctx, i, root); err != nil {
		r.problem(err)
	}
	return r, nil
}

func (r *Report) problem(err error) { r.Problems = append(r.Problems, ui.Clean(err.Error())) }

func (r *Report) release(ctx context.Context, i *flash.Image, root trust.Root) error {
	data, err := i.ReadFile(layout.ManifestFile)
	if err != nil {
		return err
	}
	env, err := envelope.Parse(data)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	m, err := manifest.Parse(env.Payload)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	r.Version, r.Name, r.Channel, r.Arch = m.Version, m.Name, m.Channel, m.Arch
	r.Created, r.Expires, r.Digest = m.Created, m.Expires, names.Sum(env.Payload)
	if root.Version() > 0 {
		_, err = root.VerifyHeld(data, trust.Any, m.Arch)
		ok := err == nil
		r.Verified = &ok
		if err != nil {
			r.problem(fmt.Errorf("verifying the manifest: %w", err))
		}
	}
	for _, name := range manifest.Required {
		a := m.Artifacts[name]
		is := manifest.Artifact{}
		content, err := artifact(i, name, a)
		if err == nil {
			is, err = manifest.Measure(ctx, content)
		}
		if err == nil && is != a {
			err = errors.New("not what the manifest says")
		}
		if err != nil {
			r.problem(fmt.Errorf("artifact %s: %w", name, err))
		}
		r.Artifacts = append(r.Artifacts, ArtifactInfo{name, a.Size, a.SHA256, err == nil})
	}
	return nil
}

func (r Report) print(w io.Writer) error {
	fmt.Fprintf(w, "release %s/%s version %d (%s) %s, %s\n", r.Channel, r.Arch, r.Version, ui.Clean(r.Name), r.Digest, verdict(r.Verified))
	fmt.Fprintf(w, "created %s, expires %s\ndisk %s, %s in sectors of %d bytes\n", r.Created.Format(time.RFC3339), r.Expires.Format(time.RFC3339), r.Disk, ui.Bytes(r.Bytes), r.Sector)
	for _, text := range r.Warnings {
		fmt.Fprintln(w, "warning:", text)
	}
	for _, s := range r.Settings {
		fmt.Fprintln(w, "setting", s)
	}
	rows := [][]string{{"partition", "id", "size", ""}}
	for _, p := range r.Partitions {
		rows = append(rows, []string{fmt.Sprint(p.Number, " ", ui.Clean(p.Name)), p.ID, ui.Bytes(p.Size), ""})
	}
	for _, a := range r.Artifacts {
		rows = append(rows, []string{a.Name, a.SHA256.String(), ui.Bytes(a.Size), map[bool]string{true: "ok", false: "DAMAGED"}[a.OK]})
	}
	return ui.Table(w, rows)
}
