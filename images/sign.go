package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/trust"
)

type signCommand struct {
	releaseFlags `set:"basis=as before"`
	From         string `default:"build/release" help:"Folder of releases to take the artifacts from." type:"path"`
	Of           string `default:"stable" help:"Channel to take them from (stable)." placeholder:"CHANNEL"`
	JSON         bool   `name:"json" short:"j" help:"Answer in JSON."`
	Release      string `short:"o" required:"" help:"Folder of releases to add it to." type:"path" placeholder:"DIR"`
}

// run gives the artifacts of a release another manifest. They are checked: what
// is signed here is what the manifest before said, and not what lies there.
func (c *signCommand) run(ctx context.Context, out output) error {
	of, err := parseChannel("--of", c.Of)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	spec, err := c.spec()
	if err != nil {
		return err
	}
	before, files, err := openRelease(ctx, filepath.Join(c.From, of, c.Arch), spec.Root, c.Arch)
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
	v, err := Sign(m, spec.Root, spec.Key)
	if err != nil {
		return err
	}
	if err := layOut(c.Release, v, spec.Root, files); err != nil {
		return err
	}
	if c.JSON {
		answer := summary(m, v.Digest(), filepath.Join(c.Release, layout.Release(m.Channel, m.Arch)))
		answer["expires"] = m.Expires.UTC()
		return out.json(answer)
	}
	_, err = fmt.Fprintf(out.stdout, "%s, expires %s\n", headline(m, v.Digest()), m.Expires.UTC().Format(time.RFC3339))
	return err
}

// openRelease verifies the release in a folder, artifacts included, and returns
// their files.
func openRelease(ctx context.Context, dir string, root trust.Root, arch string) (v trust.Verified, files map[string]string, err error) {
	data, err := os.ReadFile(filepath.Join(dir, layout.ManifestFile))
	if err != nil {
		return v, nil, err
	}
	if v, err = root.VerifyHeld(data, trust.Any, arch); err != nil {
		return v, nil, fmt.Errorf("verifying %s: %w", dir, err)
	}
	files = map[string]string{}
	for name, artifact := range v.Manifest().Artifacts {
		files[name] = filepath.Join(dir, layout.FileName(name))
		is, err := measure(ctx, files[name])
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
func layOut(dir string, v trust.Verified, root trust.Root, files map[string]string) error {
	m := v.Manifest()
	folder := filepath.Join(dir, layout.Release(m.Channel, m.Arch))
	for name, file := range files {
		if err := copyFile(file, filepath.Join(folder, layout.FileName(name)), io.Copy); err != nil {
			return err
		}
	}
	if err := replaceWith(filepath.Join(dir, layout.Root(root.Version())), root.Raw()); err != nil {
		return err
	}
	// Last, so that a provider that serves the folder meanwhile has the artifacts.
	return replaceWith(filepath.Join(folder, layout.ManifestFile), v.Envelope())
}
