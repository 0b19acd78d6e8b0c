package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/trust"
)

// signFlags are releaseFlags, where what is not said stays as it was.
type signFlags struct {
	Channel string    `short:"c" default:"stable" help:"Channel: stable, testing or nightly."`
	Version *uint64   `name:"release-version" help:"Version number, monotonic per channel and arch (default: as before)." placeholder:"N"`
	Name    string    `help:"Name for people (default: as before)."`
	Created time.Time `help:"RFC 3339 (default: as before)."`
	Expires time.Time `help:"RFC 3339 (default: 180 days after --created; without that as before)."`
	Keys    string    `short:"k" default:"build/keys" help:"Folder of the release key and the root document." type:"path"`
}

type signCommand struct {
	signFlags
	Arch    string `short:"A" default:"x86_64" help:"x86_64 or arm64."`
	From    string `default:"build/release" help:"Folder of releases to take the artifacts from." type:"path"`
	Of      string `default:"stable" help:"Channel to take them from (stable)." placeholder:"CHANNEL"`
	JSON    bool   `name:"json" short:"j" help:"Answer in JSON."`
	Release string `short:"o" required:"" help:"Folder of releases to add it to." type:"path" placeholder:"DIR"`
}

// run gives the artifacts of a release another manifest. They are checked: what
// is signed here is what the manifest before said, and not what lies there.
func (c *signCommand) run(_ context.Context, out output) error {
	arch, err := parseArch(c.Arch)
	if err != nil {
		return err
	}
	of, err := parseChannel("--of", c.Of)
	if err != nil {
		return err
	}
	flags := releaseFlags(c.signFlags)
	if err := flags.check(); err != nil {
		return err
	}
	spec, err := flags.spec()
	if err != nil {
		return err
	}
	before, files, err := openRelease(filepath.Join(c.From, of, arch), spec.Root, arch)
	if err != nil {
		return err
	}
	m := before.Manifest()
	m.Channel = spec.Channel
	if c.Version != nil {
		m.Version = *c.Version
	}
	if c.Name != "" {
		m.Name = c.Name
	}
	if !c.Created.IsZero() {
		m.Created = c.Created
		m.Expires = c.Created.Add(Lifetime)
	}
	if !c.Expires.IsZero() {
		m.Expires = c.Expires
	}
	if err := checkLifetime(m.Created, m.Expires); err != nil {
		return err
	}
	v, err := Sign(m, spec.Root, spec.Keys)
	if err != nil {
		return err
	}
	if err := layOut(c.Release, v, spec.Root, files); err != nil {
		return err
	}
	if c.JSON {
		return out.json(map[string]any{"version": m.Version, "name": m.Name, "channel": m.Channel, "arch": m.Arch, "digest": v.Digest(),
			"expires": m.Expires.UTC(), "release": filepath.Join(c.Release, layout.Release(m.Channel, m.Arch))})
	}
	fmt.Fprintf(out.stdout, "release %s/%s version %d (%s) %s, expires %s\n", m.Channel, m.Arch, m.Version, m.Name, v.Digest(), m.Expires.UTC().Format(time.RFC3339))
	return nil
}

// openRelease verifies the release in a folder, artifacts included, and returns
// their files.
func openRelease(dir string, root []byte, arch string) (v trust.Verified, files map[string]string, err error) {
	r, err := trust.ParseRoot(root)
	if err != nil {
		return v, nil, fmt.Errorf("reading the root: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, layout.ManifestFile))
	if err != nil {
		return v, nil, err
	}
	if v, err = r.VerifyHeld(data, "", arch); err != nil {
		return v, nil, fmt.Errorf("verifying %s: %w", dir, err)
	}
	files = map[string]string{}
	for name, artifact := range v.Manifest().Artifacts {
		files[name] = filepath.Join(dir, layout.FileName(name))
		is, err := measure(files[name])
		if err != nil {
			return v, nil, err
		}
		if is != artifact {
			return v, nil, fmt.Errorf("%s is not what its manifest says: build it again", files[name])
		}
	}
	return v, files, nil
}

// layOut puts a release into a folder as a provider serves it.
func layOut(dir string, v trust.Verified, root []byte, files map[string]string) error {
	r, err := trust.ParseRoot(root)
	if err != nil {
		return err
	}
	m := v.Manifest()
	folder := filepath.Join(dir, layout.Release(m.Channel, m.Arch))
	for name, file := range files {
		if err := copyFile(file, filepath.Join(folder, layout.FileName(name))); err != nil {
			return err
		}
	}
	if err := replaceWith(filepath.Join(dir, layout.Root(r.Version())), root); err != nil {
		return err
	}
	// Last, so that whoever serves the folder meanwhile has the artifacts.
	return replaceWith(filepath.Join(folder, layout.ManifestFile), v.Envelope())
}
