package images

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/keyfile"
	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
	"phase/images/rotation"
)

type rotateCommand struct {
	Keys      string    `short:"k" default:"build/keys" help:"Folder of the roots: root.json, and root/<n>.json for those that follow." type:"path"`
	First     bool      `help:"Make version 1, where there is none."`
	Add       []string  `sep:"none" help:"Add a key to a role: root, release, or release/CHANNEL. FILE is its public half. May be repeated." placeholder:"ROLE=FILE"`
	Remove    []string  `sep:"none" help:"Take a key out of a role, or out of all. KEY is its id (8 digits or more) or the file of its public half. May be repeated." placeholder:"[ROLE=]KEY"`
	Threshold []string  `sep:"none" help:"How many keys of a role must sign. May be repeated." placeholder:"ROLE=K"`
	DropRole  []string  `sep:"none" help:"Drop the role of a channel, which role release then signs for. May be repeated." placeholder:"release/CHANNEL"`
	Expires   time.Time `help:"RFC 3339 (default: in ten years)."`
	Key       []string  `sep:"none" type:"path" help:"Sign with this private key (default: root.pem in --keys, if it is there and has a say). May be repeated." placeholder:"FILE"`
	Export    string    `type:"path" help:"Write what is to be signed to FILE, with the signatures so far, and the exact bytes that a signature covers to FILE.pae." placeholder:"FILE"`
	Import    []string  `sep:"none" type:"path" help:"Finish the root in FILE, which others have signed; copies that each signed are put together. May be repeated." placeholder:"FILE"`
	Releases  []string  `sep:"none" type:"path" help:"Folder of releases, or a manifest, to say of what fleets will do with it (default: build/release, if it is there). May be repeated." placeholder:"DIR"`
	Release   []string  `short:"o" sep:"none" type:"path" help:"Folder of releases to add the finished root to. May be repeated." placeholder:"DIR"`
	DryRun    bool      `short:"d" help:"Say what fleets will do, and write nothing."`
	JSON      bool      `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *rotateCommand) run(_ context.Context, out output) error {
	change, err := c.change()
	if err != nil {
		return err
	}
	before, err := c.before()
	if err != nil {
		return err
	}
	draft, err := c.draft(before, change)
	if err != nil {
		return err
	}
	held, err := c.held()
	if err != nil {
		return err
	}
	effects := rotation.Look(before, draft, held, time.Now())
	files, err := c.write(draft, effects)
	if c.JSON {
		err = errors.Join(out.json(struct {
			rotation.Effects
			Files []string `json:"files"`
		}{effects, files}), err)
	} else {
		err = errors.Join(printEffects(out.stdout, effects), err)
		for _, file := range files {
			fmt.Fprintln(out.stdout, "wrote", file)
		}
	}
	return err
}

// change reads the flags that say what is otherwise.
func (c *rotateCommand) change() (rotation.Change, error) {
	change := rotation.Change{Add: map[string][]ed25519.PublicKey{}, Remove: map[string][]string{}, Threshold: map[string]int{}, Drop: c.DropRole, Expires: c.Expires}
	if c.DryRun && c.Export != "" || (c.DryRun || c.Export != "") && len(c.Release) > 0 {
		return change, program.Usagef("--dry-run writes nothing, --export writes what is not finished, and -o takes the finished root: choose one")
	}
	if len(c.Import) > 0 {
		if len(c.Add)+len(c.Remove)+len(c.Threshold)+len(c.DropRole) > 0 || !c.Expires.IsZero() {
			return change, program.Usagef("--import finishes a root that is made: what it says was decided by --export")
		}
		return change, nil
	}
	if change.Expires.IsZero() {
		change.Expires = time.Now().Add(RootLifetime)
	}
	change.Expires = change.Expires.UTC().Truncate(time.Second)
	for _, text := range c.Add {
		role, file, ok := strings.Cut(text, "=")
		if err := rotation.CheckRole(role); err != nil || !ok {
			return change, program.Usagef("--add %q is not ROLE=FILE: %w", text, errors.Join(err, errNoFile(ok)))
		}
		key, err := readPublic(file)
		if err != nil {
			return change, fmt.Errorf("--add: %w", err)
		}
		change.Add[role] = append(change.Add[role], key)
	}
	for _, text := range c.Remove {
		role, id, ok := strings.Cut(text, "=")
		if !ok {
			role, id = "", text
		}
		if key, err := readPublic(id); err == nil {
			id = envelope.KeyID(key)
		} else if strings.Trim(strings.ToLower(id), "0123456789abcdef") != "" {
			return change, fmt.Errorf("--remove: it is no key id, and no file of a public key: %w", err)
		}
		change.Remove[role] = append(change.Remove[role], id)
	}
	for _, text := range c.Threshold {
		role, number, _ := strings.Cut(text, "=")
		k, err := strconv.Atoi(number)
		if err != nil || k < 1 {
			return change, program.Usagef("--threshold %q is not ROLE=K, such as root=2", text)
		}
		change.Threshold[role] = k
	}
	return change, nil
}

// before is the chain that the new root continues; the zero Chain for the first.
func (c *rotateCommand) before() (chain.Chain, error) {
	if !c.First {
		return LoadRoots(c.Keys)
	}
	if _, err := os.Stat(filepath.Join(c.Keys, rootDocument)); !errors.Is(err, fs.ErrNotExist) {
		return chain.Chain{}, fmt.Errorf("%s has a root of version 1 already; leave --first away for the next one", c.Keys)
	}
	return chain.Chain{}, nil
}

// draft makes the root, or puts together what others have signed, and adds the
// signatures of the keys that are here.
func (c *rotateCommand) draft(before chain.Chain, change rotation.Change) (trust.Draft, error) {
	spec, payload, err := c.content(before, change)
	if err != nil {
		return trust.Draft{}, err
	}
	if is, next := spec.Version, before.Last().Version()+1; is != next {
		return trust.Draft{}, fmt.Errorf("it is version %d, and version %d is the next one in %s", is, next, c.Keys)
	}
	known := before.Last().Spec().Keys()
	for id, key := range spec.Keys() {
		known[id] = key
	}
	var data []byte
	if len(c.Import) > 0 {
		data, err = mergeFiles(c.Import, trust.RootType, known)
	} else {
		data, err = envelope.Unsigned(trust.RootType, payload)
	}
	if err != nil {
		return trust.Draft{}, err
	}
	keys, err := c.signers(known)
	if err == nil {
		data, err = addSignatures(data, known, keys...)
	}
	if err != nil {
		return trust.Draft{}, err
	}
	return trust.ParseDraft(data)
}

// content is what the new root says.
func (c *rotateCommand) content(before chain.Chain, change rotation.Change) (spec trust.RootSpec, payload []byte, err error) {
	if len(c.Import) == 0 {
		if spec, err = change.Apply(before.Last().Spec()); err == nil {
			payload, err = spec.Payload()
		}
		return spec, payload, err
	}
	env, err := readEnvelope(c.Import[0])
	if err != nil {
		return spec, nil, err
	}
	draft, err := trust.ParseDraft(env.Raw())
	if err != nil {
		return spec, nil, fmt.Errorf("%s: %w", c.Import[0], err)
	}
	return draft.Spec(), env.Payload, nil
}

// signers are the keys named, or the root key in the folder.
func (c *rotateCommand) signers(known map[string]ed25519.PublicKey) ([]ed25519.PrivateKey, error) {
	if len(c.Key) > 0 {
		keys, err := readPrivate(c.Key)
		for _, key := range keys {
			if id := envelope.KeyID(public(key)); known[id] == nil {
				return nil, fmt.Errorf("key %.16s is neither in the new root nor in the one before: its signature would not count", id)
			}
		}
		return keys, err
	}
	key, err := keyfile.Read(filepath.Join(c.Keys, rootKeyFile))
	if errors.Is(err, fs.ErrNotExist) || err == nil && known[envelope.KeyID(public(key))] == nil {
		return nil, nil
	}
	return []ed25519.PrivateKey{key}, err
}

// write puts the root where it belongs when it is finished, or where others
// sign it.
func (c *rotateCommand) write(draft trust.Draft, effects rotation.Effects) (files []string, err error) {
	switch {
	case c.DryRun:
		return []string{}, nil
	case c.Export != "":
		return writeExport(c.Export, draft.Raw())
	case !effects.Complete:
		return []string{}, fmt.Errorf("nothing was written, as too few have signed it (%s): write it with --export FILE, have the others sign it with 'images sign --key KEY FILE', then --import FILE", missing(effects))
	case !effects.Walkable:
		return []string{}, fmt.Errorf("no node would take it: %s", strings.Join(effects.Warnings, "; "))
	}
	file := filepath.Join(c.Keys, rootDocument)
	if effects.Version > 1 {
		file = filepath.Join(c.Keys, layout.Root(effects.Version))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	if err := statefile.WriteNew(file, draft.Raw(), 0o644); err != nil {
		return nil, err
	}
	files = append(files, file)
	for _, dir := range c.Release {
		file := filepath.Join(dir, layout.Root(effects.Version))
		if err := replaceWith(file, draft.Raw()); err != nil {
			return files, err
		}
		files = append(files, file)
	}
	return files, nil
}

func missing(effects rotation.Effects) string {
	var list []string
	for _, s := range effects.Signatures {
		if s.Missing > 0 {
			list = append(list, fmt.Sprintf("%d of %d by role root of version %d", len(s.Signed), s.Threshold, s.By))
		}
	}
	return strings.Join(list, ", ")
}

// held are the manifests to look at.
func (c *rotateCommand) held() ([]rotation.Held, error) {
	folders := c.Releases
	if len(folders) == 0 {
		folders = []string{filepath.Join("build", "release")}
		if _, err := os.Stat(folders[0]); err != nil {
			return nil, nil
		}
	}
	var list []rotation.Held
	for _, folder := range folders {
		files, err := manifests(folder)
		if err != nil {
			return nil, fmt.Errorf("looking for releases: %w", err)
		}
		for _, file := range files {
			data, err := statefile.ReadCapped(file, envelope.MaxBytes)
			if err != nil {
				return nil, fmt.Errorf("looking for releases: %w", err)
			}
			list = append(list, rotation.Held{File: file, Envelope: data})
		}
	}
	return list, nil
}

func errNoFile(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("it has no =")
}

func printEffects(w io.Writer, e rotation.Effects) error {
	fmt.Fprintf(w, "root version %d of fleet %s, expires %s (in %d days)\n", e.Version, orUnknown(e.Fleet), e.Expires.Format(time.RFC3339), e.Days)
	for _, change := range e.Changes {
		fmt.Fprintln(w, " ", change)
	}
	for _, s := range e.Signatures {
		fmt.Fprintf(w, "by role root of version %d: %d of %d signatures", s.By, len(s.Signed), s.Threshold)
		if s.Missing > 0 {
			fmt.Fprintf(w, ", %d missing, of these keys:", s.Missing)
			for _, id := range s.Others {
				fmt.Fprintf(w, "\n  %s", id)
			}
		}
		fmt.Fprintln(w)
	}
	if e.Walkable && e.Version > 1 {
		fmt.Fprintf(w, "nodes that know version 1 alone come to it: each of the %d roots follows from the one before\n", e.Version)
	}
	for _, r := range e.Releases {
		fmt.Fprintf(w, "%s/%s version %d: %s before, %s after (%s)\n", r.Channel, r.Arch, r.Version, verdictOf(string(r.Before)), verdictOf(string(r.After)), r.File)
	}
	for _, f := range e.Floors {
		fmt.Fprintf(w, "floor of %s/%s: %d before, %d after\n", f.Channel, f.Arch, f.Before, f.After)
	}
	var err error
	for _, text := range e.Warnings {
		_, err = fmt.Fprintln(w, "warning:", text)
	}
	return err
}

func verdictOf(code string) string {
	if code == "" {
		return "accepted"
	}
	return "refused (" + code + ")"
}

func orUnknown(fleet string) string {
	if fleet == "" {
		return "(not signed yet)"
	}
	return fleet
}
