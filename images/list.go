package images

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// ListType is the DSSE payload type of a List.
const ListType = "application/vnd.phase.images.v1+json"

// Files beside the images. Both say the same: sums is for sha256sum -c, and the
// list is what is signed.
const (
	listFile = "phase-images.json"
	sumsFile = "SHA256SUMS"
)

// What a list may hold.
const (
	maxListed = 256
	maxImage  = 1 << 40 // bytes
)

// List says which files a build has made to be downloaded.
type List struct {
	// Channel decides who must sign.
	Channel string   `json:"channel"`
	Files   []Listed `json:"files"`
}

// Listed is one file. Name is its path below the folder of the list.
type Listed struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 hexSum `json:"sha256"`
}

// hexSum is a digest in JSON without its prefix, as in a manifest.
type hexSum names.Digest

func (h hexSum) MarshalText() ([]byte, error) { return []byte(names.Digest(h).Hex()), nil }

func (h *hexSum) UnmarshalText(text []byte) error {
	d, err := names.ParseHex(string(text))
	*h = hexSum(d)
	return err
}

// ParseList reads the payload of a list. It refuses more than 256 files, names
// that lead out of a folder or come twice, and sizes of a tebibyte and more.
// Fields that are not known are ignored.
func ParseList(payload []byte) (List, error) {
	var l List
	if err := strictjson.Unmarshal(payload, &l); err != nil {
		return List{}, fmt.Errorf("reading the list of images: %w", err)
	}
	if _, err := names.ParseChannel(l.Channel); err != nil {
		return List{}, fmt.Errorf("reading the list of images: %w", err)
	}
	if len(l.Files) > maxListed {
		return List{}, fmt.Errorf("reading the list of images: at most %d files", maxListed)
	}
	seen := map[string]bool{}
	for _, f := range l.Files {
		// A line break in a name would be a line of its own in SHA256SUMS.
		if !fs.ValidPath(f.Name) || strings.ContainsFunc(f.Name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) || seen[f.Name] {
			return List{}, fmt.Errorf("reading the list of images: %.80q is no name of a file, or comes twice", f.Name)
		}
		if f.Size < 0 || f.Size >= maxImage {
			return List{}, fmt.Errorf("reading the list of images: %s has %d bytes", f.Name, f.Size)
		}
		seen[f.Name] = true
	}
	return l, nil
}

// VerifyList opens a list that those have signed who may sign releases of its
// channel. Errors are *refusal.Refusal.
func VerifyList(data []byte, root trust.Root) (l List, err error) {
	_, err = root.VerifyDocument(data, ListType, func(payload []byte) (string, error) {
		l, err = ParseList(payload)
		return l.Channel, err
	})
	if err != nil {
		return List{}, err
	}
	return l, nil
}

// named finds a file by its name.
func (l List) named(name string) (Listed, bool) {
	i := slices.IndexFunc(l.Files, func(f Listed) bool { return f.Name == name })
	if i < 0 {
		return Listed{}, false
	}
	return l.Files[i], true
}

// holding finds a file by what it holds: a download may have another name.
func (l List) holding(is manifest.Artifact) (Listed, bool) {
	i := slices.IndexFunc(l.Files, func(f Listed) bool { return f.Size == is.Size && names.Digest(f.SHA256) == is.SHA256 })
	if i < 0 {
		return Listed{}, false
	}
	return l.Files[i], true
}

// sums is the list as sha256sum reads it.
func (l List) sums() []byte {
	var text bytes.Buffer
	for _, f := range l.Files {
		fmt.Fprintf(&text, "%s  %s\n", names.Digest(f.SHA256).Hex(), f.Name)
	}
	return text.Bytes()
}

// words say what is listed, for a person.
func (l List) words() []string {
	lines := []string{fmt.Sprintf("%s of channel %s", ui.Count(len(l.Files), "file"), l.Channel)}
	for _, f := range l.Files {
		lines = append(lines, fmt.Sprintf("%s %s %s", names.Digest(f.SHA256), f.Name, ui.Bytes(f.Size)))
	}
	return lines
}

// imageFiles are those that a build leaves in a folder for one arch, whether they
// are there or not, and those for boards that are there.
func imageFiles(dir, arch string) ([]string, error) {
	files := []string{"phase-" + arch + ".img", "phase-" + arch + ".img" + zstdSuffix, "phase-" + arch + ".qcow2"}
	boards, err := filepath.Glob(filepath.Join(dir, "phase-"+arch+"-*.img"))
	for _, file := range boards {
		files = append(files, filepath.Base(file), filepath.Base(file)+zstdSuffix)
	}
	for _, name := range []string{NetbootKernel, NetbootInitrd, NetbootCmdline, netbootScript} {
		files = append(files, "netboot/"+arch+"/"+name)
	}
	return files, err
}

// measureImages lists the images of every arch that are in a folder.
func measureImages(ctx context.Context, dir, channel string) (List, error) {
	l := List{Channel: channel, Files: []Listed{}}
	for _, arch := range names.Arches {
		files, err := imageFiles(dir, arch)
		if err != nil {
			return l, err
		}
		for _, name := range files {
			is, err := measure(ctx, filepath.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return l, err
			}
			l.Files = append(l.Files, Listed{name, is.Size, hexSum(is.SHA256)})
		}
	}
	return l, nil
}

// ListImages writes the list of the images in a folder, signed by a key unless
// that is nil, and SHA256SUMS. Signatures that others have put under the same
// list stay.
func ListImages(ctx context.Context, dir, channel string, root trust.Root, key ed25519.PrivateKey) error {
	l, err := measureImages(ctx, dir, channel)
	if err != nil {
		return fmt.Errorf("listing the images: %w", err)
	}
	payload, err := strictjson.Marshal(l)
	if err == nil {
		_, err = ParseList(payload)
	}
	if err != nil {
		return fmt.Errorf("listing the images: %w", err)
	}
	data, err := envelope.Unsigned(ListType, payload)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, listFile)
	before, err := statefile.ReadCapped(file, envelope.MaxBytes)
	if err == nil {
		if env, err := envelope.Parse(before); err == nil && env.PayloadType == ListType && bytes.Equal(env.Payload, payload) {
			data = before
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var keys []ed25519.PrivateKey
	if key != nil {
		keys = append(keys, key)
	}
	if data, err = addSignatures(data, root.Spec().Keys(), keys...); err != nil {
		return fmt.Errorf("signing the list of images: %w", err)
	}
	return errors.Join(replaceWith(file, data), replaceWith(filepath.Join(dir, sumsFile), l.sums()))
}
