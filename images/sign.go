package images

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

type signCommand struct {
	releaseFlags `set:"basis=as before"`
	From         string   `default:"build/release" help:"Folder of releases to take the artifacts from." type:"path"`
	Of           string   `default:"stable" help:"Channel to take them from (stable)." placeholder:"CHANNEL"`
	Key          []string `sep:"none" type:"path" help:"Sign with this private key (default: release.pem in --keys). May be repeated." placeholder:"FILE"`
	Export       string   `type:"path" help:"Sign nothing: write the manifest to FILE, for others to sign, and the exact bytes that a signature covers to FILE.pae." placeholder:"FILE"`
	Import       []string `sep:"none" type:"path" help:"Add the release whose manifest in FILE others have signed; copies that each signed are put together. May be repeated." placeholder:"FILE"`
	Signature    string   `type:"path" help:"Add to FILE a signature that another program made over the bytes of FILE.pae: 64 bytes, or their base64." placeholder:"SIG"`
	PublicKey    string   `type:"path" help:"The public half of the key that made --signature." placeholder:"KEY"`
	SameAs       string   `type:"path" help:"Sign FILE only if it says the same as this manifest or provenance, which you have made from your own build with --export." placeholder:"OWN"`
	JSON         bool     `name:"json" short:"j" help:"Answer in JSON."`
	Release      string   `short:"o" help:"Folder of releases to add it to." type:"path" placeholder:"DIR"`
	File         string   `arg:"" optional:"" type:"path" help:"Sign this root or manifest that somebody else has made, in place; needs --key alone."`
}

// mode refuses flags that say nothing together, and finds out what is asked.
func (c *signCommand) mode() (do func(context.Context, output) error, err error) {
	makes := c.makes()
	switch {
	case (c.Signature == "") != (c.PublicKey == ""):
		return nil, program.Usagef("--signature and --public-key belong together")
	case c.File != "":
		if makes || c.Export != "" || len(c.Import) > 0 || c.Release != "" {
			return nil, program.Usagef("signing %s: what it says is decided, and --key or --signature are all that is needed", c.File)
		}
		return func(_ context.Context, out output) error { return c.signFile(out) }, nil
	case c.SameAs != "":
		return nil, program.Usagef("--same-as: name the file to sign")
	case c.Signature != "":
		return nil, program.Usagef("--signature: name the file it belongs to")
	case c.Export != "":
		if c.Release != "" || len(c.Import)+len(c.Key) > 0 {
			return nil, program.Usagef("--export signs nothing: sign FILE with 'images sign --key KEY FILE', then give it to --import")
		}
		return c.export, nil
	case c.Release == "":
		return nil, program.Usagef("say with -o DIR where the release goes, or --export it, or name the file to sign")
	case len(c.Import) > 0:
		if makes || len(c.Key) > 0 {
			return nil, program.Usagef("--import takes the manifest as it was signed")
		}
		return c.complete, nil
	}
	return c.again, nil
}

func (c *signCommand) run(ctx context.Context, out output) error {
	do, err := c.mode()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	return do(ctx, out)
}

// again gives the artifacts of a release another manifest. They are checked:
// what is signed here is what the manifest before said, and not what lies there.
func (c *signCommand) again(ctx context.Context, out output) error {
	m, trusted, files, err := c.manifest(ctx)
	if err != nil {
		return err
	}
	keys, err := c.signers()
	if err != nil {
		return err
	}
	v, err := Sign(m, trusted.Last(), keys...)
	if err != nil {
		return err
	}
	return c.add(out, v, trusted, files)
}

// signers are the keys named, or the one of the folder.
func (c *signCommand) signers() ([]ed25519.PrivateKey, error) {
	if len(c.Key) > 0 {
		return readPrivate(c.Key)
	}
	key, _, err := LoadKeys(c.Keys)
	return []ed25519.PrivateKey{key}, err
}

// export writes the manifest for others to sign.
func (c *signCommand) export(ctx context.Context, out output) error {
	m, _, _, err := c.manifest(ctx)
	if err != nil {
		return err
	}
	return exportManifest(m, c.Export, c.JSON, out)
}

// complete adds the release whose manifest others have signed. Its artifacts
// are those of the release in --from.
func (c *signCommand) complete(ctx context.Context, out output) error {
	trusted, err := LoadRoots(c.Keys)
	if err != nil {
		return err
	}
	v, err := importManifest(c.Import, c.Keys, c.Arch)
	if err != nil {
		return err
	}
	files, err := c.artifacts(ctx, v.Manifest())
	if err != nil {
		return err
	}
	return c.add(out, v, trusted, files)
}

// manifest is the one to sign, made from that of the release before.
func (c *signCommand) manifest(ctx context.Context) (m manifest.Manifest, trusted chain.Chain, files map[string]string, err error) {
	of, err := parseChannel("--of", c.Of)
	if err != nil {
		return m, trusted, nil, err
	}
	if trusted, err = LoadRoots(c.Keys); err != nil {
		return m, trusted, nil, err
	}
	if m, files, err = openBefore(ctx, filepath.Join(c.From, of, c.Arch), trusted, c.Arch); err != nil {
		return m, trusted, nil, err
	}
	m.Channel = c.Channel
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
	m.Rollout = c.rollout(m.Rollout)
	return m, trusted, files, checkLifetime(m.Created, m.Expires)
}

// artifacts are the files of a release that is signed already.
func (c *signCommand) artifacts(ctx context.Context, m manifest.Manifest) (map[string]string, error) {
	of, err := parseChannel("--of", c.Of)
	if err != nil {
		return nil, err
	}
	return artifactFiles(ctx, filepath.Join(c.From, of, c.Arch), m)
}

// add lays the release out, and says so. What speaks of its artifacts goes with
// them.
func (c *signCommand) add(out output, v trust.Verified, trusted chain.Chain, files map[string]string) error {
	m := v.Manifest()
	of, err := parseChannel("--of", c.Of)
	if err != nil {
		return err
	}
	from := filepath.Join(c.From, layout.Release(of, m.Arch))
	docs, err := readDocuments(from)
	if err == nil && docs != nil {
		_, err = readAttested(from, m, trust.Root{})
	}
	if err != nil {
		return fmt.Errorf("beside the release in %s: %w", from, err)
	}
	if err := layOut(c.Release, v, trusted, files); err != nil {
		return err
	}
	for name, data := range docs {
		if err := replaceWith(filepath.Join(c.Release, layout.Release(m.Channel, m.Arch), name), data); err != nil {
			return err
		}
	}
	if c.JSON {
		answer := summary(m, v.Digest(), filepath.Join(c.Release, layout.Release(m.Channel, m.Arch)))
		answer["expires"] = m.Expires.UTC()
		return out.json(answer)
	}
	_, err = fmt.Fprintf(out.stdout, "%s, expires %s\n", headline(m, v.Digest()), m.Expires.UTC().Format(time.RFC3339))
	return err
}

// openBefore verifies the release in a folder under any of the roots, artifacts
// included, and returns its manifest and their files: after a rotation the same
// artifacts are signed again.
func openBefore(ctx context.Context, dir string, trusted chain.Chain, arch string) (m manifest.Manifest, files map[string]string, err error) {
	links := trusted.Roots()
	for i := len(links) - 1; i >= 0; i-- {
		v, files, err := openRelease(ctx, dir, links[i], arch)
		if code := refusal.CodeOf(err); i == 0 || code != refusal.Signature && code != refusal.Threshold {
			return v.Manifest(), files, err
		}
	}
	return m, nil, errors.New("there is no root")
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
	files, err = artifactFiles(ctx, dir, v.Manifest())
	return v, files, err
}

// artifactFiles are the files in a folder of a release, which must be what its
// manifest says.
func artifactFiles(ctx context.Context, dir string, m manifest.Manifest) (map[string]string, error) {
	files := map[string]string{}
	for name, artifact := range m.Artifacts {
		files[name] = filepath.Join(dir, layout.FileName(name))
		is, err := measure(ctx, files[name])
		if err != nil {
			return nil, err
		}
		if is != artifact {
			return nil, fmt.Errorf("%s is not what its manifest says: build it again", files[name])
		}
	}
	return files, nil
}

// layOut puts a release into a folder as a provider serves it. What lay beside
// the manifest before speaks of another release.
func layOut(dir string, v trust.Verified, trusted chain.Chain, files map[string]string) error {
	m := v.Manifest()
	folder := filepath.Join(dir, layout.Release(m.Channel, m.Arch))
	for _, name := range layout.Documents {
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for name, file := range files {
		if err := copyFile(file, filepath.Join(folder, layout.FileName(name)), io.Copy); err != nil {
			return err
		}
	}
	for _, root := range trusted.Roots() {
		if err := replaceWith(filepath.Join(dir, layout.Root(root.Version())), root.Raw()); err != nil {
			return err
		}
	}
	// Last, so that a provider that serves the folder meanwhile has the artifacts.
	return replaceWith(filepath.Join(folder, layout.ManifestFile), v.Envelope())
}
