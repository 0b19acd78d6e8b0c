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
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
	"phase/images/attest"
	"phase/images/rotation"
)

// bytesSuffix ends the name of the file with the bytes that a signature covers,
// for signing with other programs.
const bytesSuffix = ".pae"

// writeExport writes an envelope that others sign, and the bytes to be signed.
func writeExport(file string, data []byte) ([]string, error) {
	env, err := envelope.Parse(data)
	if err == nil {
		err = replaceWith(file, data)
	}
	if err == nil {
		err = replaceWith(file+bytesSuffix, envelope.PAE(env.PayloadType, env.Payload))
	}
	if err != nil {
		return []string{}, err
	}
	return []string{file, file + bytesSuffix}, nil
}

// readEnvelope reads an envelope of a root, of a release, of its provenance or of a list of images;
// others have nothing to be signed by the keys of a fleet.
func readEnvelope(file string) (envelope.Envelope, error) {
	data, err := statefile.ReadCapped(file, envelope.MaxBytes)
	if err != nil {
		return envelope.Envelope{}, err
	}
	env, err := envelope.Parse(data)
	if err == nil && !slices.Contains([]string{trust.RootType, manifest.PayloadType, attest.PayloadType, ListType}, env.PayloadType) {
		err = fmt.Errorf("it holds %q, which is neither a root, nor a release or its provenance, nor a list of images", ui.Clean(env.PayloadType))
	}
	if err != nil {
		return env, fmt.Errorf("%s: %w", file, err)
	}
	return env, nil
}

// mergeFiles puts the signatures of several copies of one envelope together.
// Those that none of the keys has made are left out: the bytes go to all nodes.
func mergeFiles(files []string, payloadType string, keys map[string]ed25519.PublicKey) ([]byte, error) {
	var all envelope.Envelope
	for i, file := range files {
		env, err := readEnvelope(file)
		switch {
		case err != nil:
			return nil, err
		case env.PayloadType != payloadType:
			return nil, fmt.Errorf("%s holds %q, not %q", file, env.PayloadType, payloadType)
		case i == 0:
			all = env
		case !bytes.Equal(env.Payload, all.Payload):
			return nil, fmt.Errorf("%s does not say the same as %s: signatures of one belong to that one alone", file, files[0])
		}
		if i > 0 {
			all.Signatures = append(all.Signatures, env.Signatures...)
		}
	}
	return all.Only(keys)
}

// addSignatures signs an envelope with further keys, of those known.
func addSignatures(data []byte, known map[string]ed25519.PublicKey, keys ...ed25519.PrivateKey) ([]byte, error) {
	env, err := envelope.Parse(data)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		s, err := env.Signature(key)
		if err != nil {
			return nil, err
		}
		env.Signatures = append(env.Signatures, s)
	}
	return env.Only(known)
}

// manifests are the files of the manifests in a folder of releases; of a file,
// that file.
func manifests(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var files []string
	for _, channel := range names.Channels {
		for _, arch := range names.Arches {
			file := filepath.Join(path, layout.Manifest(channel, arch))
			if _, err := os.Stat(file); err == nil {
				files = append(files, file)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return files, nil
}

// signFile adds signatures to a file that somebody else has made, and shows what
// is signed: it needs the key and the file alone, so it runs on a machine that
// is never connected.
func (c *signCommand) signFile(out output) error {
	if len(c.Key) == 0 && c.Signature == "" {
		return program.Usagef("signing %s: --key KEY signs it, --signature adds a signature made elsewhere", c.File)
	}
	env, err := readEnvelope(c.File)
	if err != nil {
		return err
	}
	about, err := aboutPayload(env)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.SameAs != "" {
		if err := c.sameAs(env); err != nil {
			return err
		}
	}
	more, err := c.signatures(env)
	if err != nil {
		return err
	}
	data, err := env.With(more...)
	if err == nil {
		env, err = envelope.Parse(data)
	}
	if err == nil {
		err = replaceWith(c.File, data)
	}
	if err != nil {
		return err
	}
	var ids []string
	for _, s := range more {
		ids = append(ids, s.KeyID)
	}
	if c.JSON {
		return out.json(map[string]any{"file": c.File, "type": env.PayloadType, "about": about, "signed_by": ids, "signatures": len(env.Signatures)})
	}
	_, err = fmt.Fprintf(out.stdout, "%s\nsigned by %s; %s now has %s\n", strings.Join(about, "\n"), strings.Join(ids, ", "), c.File, ui.Count(len(env.Signatures), "signature"))
	return err
}

// signatures are those of the keys given, and the one made by another program.
func (c *signCommand) signatures(env envelope.Envelope) ([]envelope.Signature, error) {
	keys, err := readPrivate(c.Key)
	if err != nil {
		return nil, err
	}
	var more []envelope.Signature
	for _, key := range keys {
		s, err := env.Signature(key)
		if err != nil {
			return nil, err
		}
		more = append(more, s)
	}
	if c.Signature == "" {
		return more, nil
	}
	key, err := readPublic(c.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("--public-key: %w", err)
	}
	sig, err := statefile.ReadCapped(c.Signature, envelope.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("--signature: %w", err)
	}
	if len(sig) != ed25519.SignatureSize { // else base64 of it
		if sig, err = strictjson.Base64(strings.TrimSpace(string(sig))); err != nil {
			return nil, fmt.Errorf("--signature: %s holds neither %d bytes nor their base64", c.Signature, ed25519.SignatureSize)
		}
	}
	s, err := env.SignatureOf(key, sig)
	if err != nil {
		return nil, fmt.Errorf("--signature %s over the bytes of %s: %w", c.Signature, c.File+bytesSuffix, err)
	}
	return append(more, s), nil
}

// aboutPayload says in words what an envelope holds, before somebody signs it.
func aboutPayload(env envelope.Envelope) ([]string, error) {
	if env.PayloadType == trust.RootType {
		draft, err := trust.ParseDraft(env.Raw())
		if err != nil {
			return nil, err
		}
		spec := draft.Spec()
		return append([]string{fmt.Sprintf("root version %d, expires %s", spec.Version, spec.Expires.Format(time.RFC3339))}, rotation.Differences(trust.RootSpec{}, spec)...), nil
	}
	if env.PayloadType == ListType {
		l, err := ParseList(env.Payload)
		return l.words(), err
	}
	if env.PayloadType == attest.PayloadType {
		statement, err := attest.Parse(env)
		if err != nil {
			return nil, err
		}
		return provenanceWords(statement), nil
	}
	m, err := manifest.Parse(env.Payload)
	if err != nil {
		return nil, err
	}
	about := []string{headline(m, names.Sum(env.Payload)),
		fmt.Sprintf("created %s, expires %s", m.Created.Format(time.RFC3339), m.Expires.Format(time.RFC3339)), rolloutWords(m.Rollout)}
	return slices.DeleteFunc(about, func(line string) bool { return line == "" }), nil
}

func rolloutWords(r *manifest.Rollout) string {
	switch {
	case r == nil:
		return ""
	case r.Seed == "":
		return fmt.Sprintf("for %d %% of the nodes", r.Percent)
	}
	return fmt.Sprintf("for %d %% of the nodes, by seed %s", r.Percent, r.Seed)
}

// signed is the envelope that others have signed, and sets the flags to what it
// says; nil without --import.
func (c *buildCommand) signed() ([]byte, error) {
	if len(c.Import) == 0 {
		return nil, nil
	}
	if c.Export != "" || c.makes() {
		return nil, program.Usagef("--import takes the manifest as it was signed")
	}
	v, err := importManifest(c.Import, c.Keys, trust.Any)
	if err != nil {
		return nil, err
	}
	m := v.Manifest()
	c.Channel, c.Arch, c.Version, c.Name, c.Created, c.Expires = m.Channel, m.Arch, &m.Version, m.Name, m.Created, m.Expires
	if m.Rollout != nil {
		c.Rollout, c.RolloutSeed = &m.Rollout.Percent, m.Rollout.Seed
	}
	return v.Envelope(), nil
}

// importManifest puts copies of a manifest together that others have signed,
// and verifies it under the last of the roots in a folder.
func importManifest(files []string, keys, arch string) (v trust.Verified, err error) {
	trusted, err := LoadRoots(keys)
	if err != nil {
		return v, err
	}
	data, err := mergeFiles(files, manifest.PayloadType, trusted.Last().Spec().Keys())
	if err != nil {
		return v, err
	}
	if v, err = trusted.Last().VerifyHeld(data, trust.Any, arch); err != nil {
		err = fmt.Errorf("importing %s: %w", strings.Join(files, ", "), err)
	}
	return v, err
}

// export writes the manifest of what was built, for others to sign.
func (c *buildCommand) export(ctx context.Context, spec Spec, out output) error {
	m, err := Unsigned(ctx, spec)
	if err != nil {
		return err
	}
	return exportManifest(m, c.Export, c.JSON, out)
}

func exportManifest(m manifest.Manifest, file string, json bool, out output) error {
	payload, err := m.Payload()
	if err != nil {
		return err
	}
	data, err := envelope.Unsigned(manifest.PayloadType, payload)
	if err != nil {
		return err
	}
	files, err := writeExport(file, data)
	if err != nil {
		return err
	}
	if json {
		answer := summary(m, names.Sum(payload), "")
		answer["files"] = files
		return out.json(answer)
	}
	_, err = fmt.Fprintf(out.stdout, "%s, not signed, in %s\n", headline(m, names.Sum(payload)), file)
	return err
}
