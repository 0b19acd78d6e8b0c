package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"phase/appliance/base/tool"
	"phase/images/attest"
)

// origin is what pieces were made from, as it was at the time.
type origin struct {
	Name     string        `json:"name"`     // what --version of the programs answers
	Commit   string        `json:"commit"`   // "" where git knew none
	Modified bool          `json:"modified"` // the tree was not as committed
	Go       string        `json:"go"`
	Kernel   attest.Kernel `json:"kernel"`
	Tools    []attest.Tool `json:"tools"`
}

// tools are the programs of others whose output is in a release or its images,
// each with what makes it say its version. What they say is asked, and not which
// package they came with: one of another folder may come first.
var tools = []struct{ name, ask string }{
	{"mcopy", "--version"}, {"mkfs.ext4", "-V"}, {"mksquashfs", "-version"}, {"qemu-img", "--version"}, {"unsquashfs", "-version"},
}

// ToolNames are the programs of others that are used.
func ToolNames() []string {
	var all []string
	for _, each := range tools {
		all = append(all, each.name)
	}
	return all
}

// git asks git about a checkout, which may be another user's: it is only read.
func git(ctx context.Context, checkout string, args ...string) (string, error) {
	answer, err := tool.Command{Name: "git", Args: append([]string{"-c", "safe.directory=*"}, args...), Dir: checkout}.Run(ctx)
	return strings.TrimSpace(string(answer)), err
}

// noteOrigin writes what the pieces are made from, for their provenance. A
// checkout without git makes pieces too, of which nothing can be attested.
func (p Pieces) noteOrigin(ctx context.Context, source Source) error {
	o := origin{Name: source.Name}
	if commit, err := git(ctx, source.Checkout, "rev-parse", "HEAD"); err == nil {
		changed, err := git(ctx, source.Checkout, "status", "--porcelain")
		if err != nil {
			return err
		}
		o.Commit, o.Modified = commit, changed != ""
	}
	version, err := tool.Command{Name: "go", Args: []string{"env", "GOVERSION"}, Dir: source.Checkout}.Run(ctx)
	if err != nil {
		return err
	}
	o.Go = strings.TrimSpace(string(version))
	if o.Kernel, err = p.kernelOrigin(ctx, source); err != nil {
		return err
	}
	for _, each := range tools {
		is, err := toolVersion(ctx, each.name, each.ask)
		if err != nil {
			return err
		}
		o.Tools = append(o.Tools, attest.Tool{Name: each.name, Version: is})
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return replaceWith(p.path(pieceOrigin), append(data, '\n'))
}

var versionNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// toolVersion is the first version number that a tool says. unsquashfs says its
// own and ends with an error.
func toolVersion(ctx context.Context, name, ask string) (string, error) {
	var said bytes.Buffer
	_, err := tool.Command{Name: name, Args: []string{ask}, Log: &said}.Run(ctx)
	if is := versionNumber.FindString(said.String()); is != "" {
		return is, nil
	}
	return "", errors.Join(fmt.Errorf("%s %s names no version", name, ask), err)
}

func (p Pieces) kernelOrigin(ctx context.Context, source Source) (attest.Kernel, error) {
	k := attest.Kernel{Module: p.Kernel.Module}
	from, err := moduleAt(ctx, source.Checkout, p.Kernel.Module)
	if err != nil {
		return k, err
	}
	k.Version, k.Sum = from.Version, from.Sum
	image, err := os.ReadFile(p.path(pieceImage))
	if err != nil {
		return k, err
	}
	k.Linux, err = linuxVersion(image)
	return k, err
}

var linuxBanner = regexp.MustCompile(`^Linux version ([0-9]+(\.[0-9]+)+)`)

// linuxVersion finds the version of a kernel in its image: x86 has it where the
// boot protocol says (Documentation/arch/x86/boot.rst, kernel_version), others in
// what they print first.
func linuxVersion(image []byte) (string, error) {
	if len(image) > 0x210 && string(image[0x202:0x206]) == "HdrS" {
		at := int(binary.LittleEndian.Uint16(image[0x20e:])) + 0x200
		if at < len(image) {
			if is := versionNumber.FindIndex(image[at:min(at+64, len(image))]); is != nil && is[0] == 0 {
				return string(image[at : at+is[1]]), nil
			}
		}
		return "", errors.New("the kernel's header names no version")
	}
	for at := 0; ; at++ {
		next := bytes.Index(image[at:], []byte("Linux version "))
		if next < 0 {
			return "", errors.New("the kernel names no version")
		}
		at += next
		if found := linuxBanner.FindSubmatch(image[at:min(at+64, len(image))]); found != nil {
			return string(found[1]), nil
		}
	}
}

// Commit is the commit that the pieces were compiled from; an error where they are
// from a tree that is none.
func (p Pieces) Commit() (string, error) {
	o, err := p.origin()
	return o.Commit, err
}

// origin reads what the pieces were made from, and refuses pieces of which
// nothing can be said.
func (p Pieces) origin() (o origin, err error) {
	data, err := os.ReadFile(p.path(pieceOrigin))
	if err != nil {
		return o, fmt.Errorf("looking for what the release was made from (make image notes it): %w", err)
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("reading %s: %w", filepath.Join(p.Dir, pieceOrigin), err)
	}
	switch {
	case o.Commit == "":
		err = errors.New("it was not built in a checkout of git, so there is no commit to name: build it in one")
	case o.Modified:
		err = fmt.Errorf("it was built from a tree that is not commit %.12s: commit what was changed, and build it again", o.Commit)
	}
	return o, err
}
