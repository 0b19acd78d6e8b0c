package images

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"debug/buildinfo"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
	"phase/images/attest"
)

type attestCommand struct {
	Manifest string   `arg:"" optional:"" type:"path" help:"Manifest of the release, signed or, for --export, still to be signed (OUT/release/CHANNEL/ARCH/manifest.json)."`
	Out      string   `short:"o" default:"build" help:"Folder that 'images build' wrote to." type:"path"`
	From     string   `type:"path" help:"The pieces it was assembled from (OUT/pieces/ARCH)."`
	Channel  string   `short:"c" default:"stable" help:"Channel: stable, testing or nightly."`
	Arch     string   `short:"A" default:"x86_64" help:"x86_64 or arm64."`
	Keys     string   `short:"k" default:"build/keys" help:"Folder of the release key and the roots." type:"path"`
	Key      []string `sep:"none" type:"path" help:"Sign with this private key (default: release.pem in --keys). May be repeated." placeholder:"FILE"`
	Builder  string   `default:"urn:phase:builder:release-key" help:"URI of who built it (default: who holds the key that signs)." placeholder:"URI"`
	Export   string   `type:"path" help:"Sign nothing: write the provenance to FILE, for others to sign with 'images sign --key KEY FILE', and the exact bytes that a signature covers to FILE.pae." placeholder:"FILE"`
	Import   []string `sep:"none" type:"path" help:"Take the provenance in FILE, which others have signed; it must come out the same here. May be repeated." placeholder:"FILE"`
	JSON     bool     `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *attestCommand) run(ctx context.Context, out output) (err error) {
	if c.Channel, err = parseChannel("--channel", c.Channel); err != nil {
		return err
	}
	if c.Arch, err = parseArch(c.Arch); err != nil {
		return err
	}
	if c.Manifest == "" {
		c.Manifest = filepath.Join(c.Out, "release", layout.Manifest(c.Channel, c.Arch))
	}
	trusted, err := LoadRoots(c.Keys)
	if err != nil {
		return err
	}
	env, err := readEnvelope(c.Manifest)
	if err != nil {
		return err
	}
	m, err := manifest.Parse(env.Payload)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Manifest, err)
	}
	sbom, payload, err := c.documents(ctx, m, trusted)
	if err != nil {
		return fmt.Errorf("attesting %s: %w", c.Manifest, err)
	}
	if c.Export != "" {
		return c.export(payload, out)
	}
	if _, err := trusted.Last().VerifyHeld(env.Raw(), trust.Any, m.Arch); err != nil {
		return fmt.Errorf("verifying %s: %w", c.Manifest, err)
	}
	signed, err := c.sign(payload, m.Channel, trusted.Last())
	if err != nil {
		return err
	}
	dir := filepath.Dir(c.Manifest)
	for name, data := range map[string][]byte{layout.SBOMFile: sbom, layout.ProvenanceFile: signed} {
		if err := replaceWith(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	info, err := readAttested(dir, m, trusted.Last())
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(info)
	}
	_, err = fmt.Fprintf(out.stdout, "%s\n%s\n", headline(m, names.Sum(env.Payload)), strings.Join(info.words(), "\n"))
	return err
}

// documents makes the bill of materials, and the provenance to be signed, of a
// release that these pieces made.
func (c *attestCommand) documents(ctx context.Context, m manifest.Manifest, trusted chain.Chain) (sbom, payload []byte, err error) {
	p, err := LoadPieces(cmp.Or(c.From, filepath.Join(c.Out, "pieces", m.Arch)))
	if err != nil {
		return nil, nil, err
	}
	made, err := Unsigned(ctx, Spec{Pieces: p, Roots: trusted})
	if err != nil {
		return nil, nil, err
	}
	if !maps.Equal(made.Artifacts, m.Artifacts) {
		return nil, nil, fmt.Errorf("it is not what was compiled into %s: build it again", p.Dir)
	}
	o, err := p.origin()
	if err != nil {
		return nil, nil, err
	}
	r := attest.Release{Arch: m.Arch, Name: o.Name, Time: p.Time, Artifacts: m.Artifacts, Kernel: o.Kernel}
	if r.Programs, err = p.programs(); err != nil {
		return nil, nil, err
	}
	b := attest.Build{Builder: c.Builder, Commit: o.Commit, Go: o.Go, Tools: o.Tools}
	for _, root := range trusted.Roots() {
		b.Roots = append(b.Roots, attest.Digest{Name: layout.Root(root.Version()), SHA256: names.Sum(root.Raw())})
	}
	if sbom, err = attest.SBOM(r); err != nil {
		return nil, nil, err
	}
	payload, err = attest.Provenance(r, b, sbom)
	return sbom, payload, err
}

// programs are those of the rootfs, and the one of the initramfs. Each names the
// modules in it.
func (p Pieces) programs() ([]attest.Program, error) {
	var all []attest.Program
	for path, file := range map[string]string{
		"/gokrazy/init": p.path(pieceTree, "gokrazy/init"), "/user/phase": p.path(pieceTree, "user/phase"),
		"/" + workerPath: p.path(pieceTree, workerPath), "initramfs:/init": p.path("gok", initramfsInit),
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		info, err := buildinfo.Read(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("reading what %s is made of: %w", path, err)
		}
		all = append(all, attest.Program{Path: path, SHA256: names.Sum(data), Info: info})
	}
	return all, nil
}

func (c *attestCommand) export(payload []byte, out output) error {
	data, err := envelope.Unsigned(attest.PayloadType, payload)
	if err != nil {
		return err
	}
	files, err := writeExport(c.Export, data)
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(map[string]any{"files": files})
	}
	_, err = fmt.Fprintf(out.stdout, "provenance of %s, not signed, in %s\n", c.Manifest, c.Export)
	return err
}

// sign signs the provenance, or takes what others have signed, if that is it.
func (c *attestCommand) sign(payload []byte, channel string, root trust.Root) ([]byte, error) {
	var signed []byte
	var err error
	if len(c.Import) > 0 {
		signed, err = mergeFiles(c.Import, attest.PayloadType, root.Spec().Keys())
	} else {
		var keys []ed25519.PrivateKey
		if keys, err = c.signers(); err == nil {
			signed, err = envelope.Sign(attest.PayloadType, payload, keys...)
		}
	}
	if err != nil {
		return nil, err
	}
	env, err := envelope.Parse(signed)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(env.Payload, payload) {
		return nil, errors.New("what was signed is not how it was built here: the commit, the roots and the versions of the tools must be the same")
	}
	if _, err := builders(env, channel, root); err != nil {
		return nil, fmt.Errorf("signing the provenance: %w", err)
	}
	return signed, nil
}

func (c *attestCommand) signers() ([]ed25519.PrivateKey, error) {
	if len(c.Key) > 0 {
		return readPrivate(c.Key)
	}
	key, _, err := LoadKeys(c.Keys)
	return []ed25519.PrivateKey{key}, err
}

// builders are the keys that have signed a provenance and may sign releases of
// the channel. One is enough: each speaks of a build of its own.
func builders(env envelope.Envelope, channel string, root trust.Root) ([]string, error) {
	ids, _ := root.Role(trust.RoleRelease + "/" + channel)
	if ids == nil {
		ids, _ = root.Role(trust.RoleRelease)
	}
	by := slices.DeleteFunc(env.SignedBy(root.Spec().Keys()), func(id string) bool { return !slices.Contains(ids, id) })
	if len(by) == 0 {
		return nil, errors.New("no key that may sign the release has signed it")
	}
	return by, nil
}

// AttestedInfo is what lies beside a manifest.
type AttestedInfo struct {
	attest.Summary
	SignedBy []string    `json:"signed_by"` // keys that may sign the release
	SBOM     attest.Bill `json:"sbom"`
}

// readAttested reads what lies beside the manifest m in a folder, and refuses
// what does not speak of m. With the zero Root no signature is checked. nil:
// nothing is there.
func readAttested(dir string, m manifest.Manifest, root trust.Root) (*AttestedInfo, error) {
	docs, err := readDocuments(dir)
	if err != nil || docs == nil {
		return nil, err
	}
	env, err := envelope.Parse(docs[layout.ProvenanceFile])
	if err != nil {
		return nil, err
	}
	statement, err := attest.Parse(env)
	if err == nil {
		err = statement.Covers(m.Artifacts, docs[layout.SBOMFile])
	}
	if err != nil {
		return nil, err
	}
	info := AttestedInfo{Summary: statement.Summary(), SignedBy: []string{}}
	if root.Version() > 0 {
		if info.SignedBy, err = builders(env, m.Channel, root); err != nil {
			return nil, fmt.Errorf("verifying the provenance: %w", err)
		}
	}
	info.SBOM, err = attest.ReadSBOM(docs[layout.SBOMFile])
	return &info, err
}

// readDocuments reads what lies beside a manifest; nil when nothing does.
func readDocuments(dir string) (map[string][]byte, error) {
	docs := map[string][]byte{}
	for _, name := range layout.Documents {
		data, err := statefile.ReadCapped(filepath.Join(dir, name), layout.MaxDocument)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		docs[name] = data
	}
	switch len(docs) {
	case 0:
		return nil, nil
	case len(layout.Documents):
		return docs, nil
	}
	return nil, fmt.Errorf("only one of %s is there: make both with images attest", strings.Join(layout.Documents, " and "))
}

func provenanceWords(s attest.Statement) []string {
	sum := s.Summary()
	words := []string{fmt.Sprintf("provenance of a release for %s: built by %s from commit %s", s.Predicate.BuildDefinition.ExternalParameters.Arch, sum.Builder, sum.Commit)}
	for _, subject := range s.Subject {
		words = append(words, fmt.Sprintf("%s sha256:%s", subject.Name, subject.Digest["sha256"]))
	}
	return cleaned(append(words, "with "+strings.Join(sum.From, ", ")))
}

// cleaned are lines that hold what others wrote, for a terminal.
func cleaned(lines []string) []string {
	for i := range lines {
		lines[i] = ui.Clean(lines[i])
	}
	return lines
}

func (a AttestedInfo) words() []string {
	words := []string{
		fmt.Sprintf("%s: %d programs, %d Go modules, Linux %s", layout.SBOMFile, a.SBOM.Programs, a.SBOM.Modules, a.SBOM.Linux),
		fmt.Sprintf("%s: built by %s from commit %s", layout.ProvenanceFile, a.Builder, a.Commit),
	}
	for _, id := range a.SignedBy {
		words = append(words, "  so says "+id)
	}
	return cleaned(words)
}
