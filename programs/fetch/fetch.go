// Package fetch is the command line of package fetch of the appliance: it
// finds the newest release that providers offer and the root vouches for, and
// brings it into a folder that `plasmd serve` serves. What an interrupted run
// left behind is used again; a manifest is written last, so that a folder with
// one is whole.
package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/network/lan"
	"phase/appliance/release/fetch"
	"phase/appliance/release/manifest"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

const about = "Download a release, verify it, and keep it in a folder."

const (
	// lookTime is how long the network is asked for providers when none is
	// named: a node answers within a second.
	lookTime   = 3 * time.Second
	asksAtOnce = 512
	// settle is how long the silent of a crowd are waited for.
	settle = 2 * time.Second
)

type commandLine struct {
	Root     string   `short:"r" default:"/etc/phase/root.json" placeholder:"FILE" help:"The root to trust (${default})."`
	Channel  string   `short:"c" default:"stable" help:"stable, testing or nightly (${default})."`
	Arch     string   `short:"A" placeholder:"ARCH" help:"x86_64 or arm64 (default: this machine's)."`
	Floor    uint64   `short:"f" placeholder:"N" help:"Refuse a version below N; N itself passes."`
	Output   string   `short:"o" default:"." placeholder:"DIR" help:"The folder to keep it in, as DIR/CHANNEL/ARCH/… (${default})."`
	Provider []string `short:"p" sep:"none" placeholder:"URL" help:"Ask this provider. May be repeated; without it, those on the local network are asked."`
	Artifact []string `short:"a" sep:"," placeholder:"NAME" help:"Bring this artifact only: kernel, initramfs or rootfs. May be repeated."`
	JSON     bool     `name:"json" short:"j" help:"Print one JSON object."`
}

// answer is what is printed.
type answer struct {
	OK        bool         `json:"ok"`
	Code      refusal.Code `json:"code"`
	Reason    string       `json:"reason"`
	Channel   string       `json:"channel"`
	Arch      string       `json:"arch"`
	Version   uint64       `json:"version"`
	Digest    string       `json:"digest"`
	Folder    string       `json:"folder"`
	Files     []string     `json:"files"`
	Bytes     int64        `json:"bytes"`
	Resumed   int64        `json:"resumed"`
	Providers []provider   `json:"providers"`
}

// provider is what became of one provider asked.
type provider struct {
	URL    string       `json:"url"`
	Bytes  int64        `json:"bytes"`
	Code   refusal.Code `json:"code"`
	Reason string       `json:"reason"`
}

// Run is the program. It ends with 0 when the release, or the artifacts asked
// for, are in the folder.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var c commandLine
	if _, err := program.Parse("fetch", about, &c, args, stdout, stderr); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	a := answer{Channel: c.Channel, Arch: c.Arch, Files: []string{}, Providers: []provider{}}
	err := c.fetch(ctx, &a, stderr)
	a.OK = err == nil
	if c.JSON {
		if err != nil {
			a.Code, a.Reason = refusal.CodeOf(err), ui.Clean(err.Error())
		}
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			a.Code = refusal.Busy // no room
		}
		data, encoding := strictjson.MarshalIndent(a)
		if encoding != nil {
			return fmt.Errorf("printing the answer: %w", encoding)
		}
		if _, err := stdout.Write(data); err != nil {
			return fmt.Errorf("printing the answer: %w", err)
		}
	}
	if err != nil {
		return err
	}
	if !c.JSON {
		_, err = fmt.Fprintf(stdout, "%s/%s version %d %s in %s (%s received, %s resumed)\n",
			a.Channel, a.Arch, a.Version, a.Digest, a.Folder, ui.Bytes(a.Bytes), ui.Bytes(a.Resumed))
	}
	return err
}

func (c *commandLine) check() error {
	var err error
	if c.Channel, err = names.ParseChannel(c.Channel); err != nil {
		return program.Usagef("--channel: %w", err)
	}
	if c.Arch == "" {
		c.Arch = names.RunningArch()
	}
	if c.Arch, err = names.ParseArch(c.Arch); err != nil {
		return program.Usagef("--arch: %w", err)
	}
	for _, p := range c.Provider {
		if _, err := fetch.ParseBase(p); err != nil {
			return program.Usagef("--provider: %w", err)
		}
	}
	for i, name := range c.Artifact {
		known, ok := manifest.ArtifactName(name)
		if !ok {
			return program.Usagef("--artifact %.70q is no artifact's name", name)
		}
		c.Artifact[i] = known
	}
	return nil
}

func (c *commandLine) fetch(ctx context.Context, a *answer, stderr io.Writer) error {
	data, err := readDocument(c.Root)
	if err != nil {
		return fmt.Errorf("reading the root (name another with --root): %w", err)
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		return fmt.Errorf("reading the root %s: %w", c.Root, err)
	}
	if err := checkRoot(c.Output, root); err != nil {
		return err
	}
	floor, err := c.floor(root)
	if err != nil {
		return err
	}
	best, sources, err := c.choose(ctx, root, floor, a)
	if err != nil {
		if code := refusal.CodeOf(err); floor.Valid() && (code == refusal.Rollback || code == refusal.Equivocation) {
			err = fmt.Errorf("%w; %s holds version %d, so choose another folder for that one", err, c.Output, floor.Manifest().Version)
		}
		return err
	}
	m := best.Manifest()
	a.Version, a.Digest = m.Version, best.Digest().String()
	a.Folder = filepath.Join(c.Output, m.Channel, m.Arch)
	if err := c.bring(ctx, best, sources, a, stderr); err != nil {
		return err
	}
	// The folder carries its root, so that plasmd serve needs none named.
	return keepRoot(c.Output, root)
}

// floor is the release that the folder holds already: nothing from the network
// may take it back to an older one. It is not valid when there is none, or none
// that the root vouches for.
func (c *commandLine) floor(root trust.Root) (trust.Verified, error) {
	data, err := readDocument(filepath.Join(c.Output, c.Channel, c.Arch, manifest.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return trust.Verified{}, nil
	}
	if err != nil {
		return trust.Verified{}, fmt.Errorf("looking at what is there: %w", err)
	}
	held, err := root.VerifyHeld(data, c.Channel, c.Arch)
	if err != nil {
		slog.Warn("what the folder holds will be replaced", "reason", err.Error())
	}
	return held, nil
}

// choose asks the providers named, or those on the local network, for their
// manifests and picks the newest that the root vouches for; sources are those
// that offer exactly that one.
func (c *commandLine) choose(ctx context.Context, root trust.Root, floor trust.Verified, a *answer) (trust.Verified, []string, error) {
	policy := trust.Policy{Channel: c.Channel, Arch: c.Arch, Floor: c.Floor, Now: time.Now()}
	if held := floor.Manifest().Version; floor.Valid() && held >= c.Floor {
		policy.Floor, policy.FloorDigest = held, floor.Digest()
	}
	s := survey.Survey{
		Named: c.Provider, Channel: c.Channel, Arch: c.Arch, AtOnce: asksAtOnce, Once: true, Settle: settle,
		Check: func(_ context.Context, _, _, _ string, envelope []byte) (trust.Verified, error) {
			return root.Verify(envelope, policy)
		},
	}
	if len(c.Provider) == 0 {
		s.Finders, s.Look = []survey.Finder{lan.Finder{Channel: c.Channel, Arch: c.Arch, Log: slog.Default()}}, lookTime
	}
	var answers []survey.Answer
	if err := s.Run(ctx, func(said survey.Answer) { answers = append(answers, said) }); err != nil {
		return trust.Verified{}, nil, err
	}
	slices.SortStableFunc(answers, func(x, y survey.Answer) int { // as they were named
		return cmp.Compare(slices.Index(c.Provider, x.URL), slices.Index(c.Provider, y.URL))
	})
	var offers []survey.Offer
	var refused []error
	for _, said := range answers {
		if said.Err == nil {
			offers = append(offers, survey.Offer{Provider: said.URL, Release: said.Release})
			continue
		}
		slog.Warn("refused", "provider", said.URL, "reason", said.Err.Error())
		a.Providers = append(a.Providers, provider{URL: said.URL, Code: refusal.CodeOf(said.Err), Reason: ui.Clean(said.Err.Error())})
		refused = append(refused, fmt.Errorf("%s: %w", said.URL, said.Err))
	}
	best, ok := survey.Choose(offers, 0, func(names.Digest) bool { return false })
	switch {
	case ok:
	case len(refused) > 0:
		return trust.Verified{}, nil, telling(refused) // all are in the log
	default:
		return trust.Verified{}, nil, refusal.New(refusal.Unreachable, "nobody on the network offers %s/%s; name a provider with --provider URL", c.Channel, c.Arch)
	}
	m := best.Release.Manifest()
	for _, o := range offers {
		if o.Release.Manifest().Version == m.Version && o.Release.Digest() != best.Release.Digest() {
			slog.Warn("two releases of one version are offered; the one with the lower digest is taken",
				"version", m.Version, "taken", best.Release.Digest().String(), "other", o.Release.Digest().String(), "provider", o.Provider)
		}
	}
	return best.Release, best.Providers, nil
}

// telling is the refusal to end with when every provider was refused: what one
// of them has says more than that another could not be asked.
func telling(refused []error) error {
	for _, err := range refused {
		switch refusal.CodeOf(err) {
		case refusal.Unreachable, refusal.Slow, refusal.Busy:
		default:
			return err
		}
	}
	return refused[0]
}

// bring downloads what is not there yet, and writes the manifest last.
func (c *commandLine) bring(ctx context.Context, best trust.Verified, sources []string, a *answer, stderr io.Writer) error {
	m := best.Manifest()
	if err := os.MkdirAll(a.Folder, 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	names := c.Artifact
	if len(names) == 0 {
		names = manifest.Required
	}
	unlock, err := lock(a.Folder)
	if err != nil {
		return err
	}
	defer unlock()
	dst := &folder{dir: a.Folder}
	defer dst.close()
	var missing []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		want, ok := m.Artifacts[name]
		if !ok {
			return fmt.Errorf("version %d has no artifact %q", m.Version, name)
		}
		held, err := dst.holds(ctx, name, want)
		if err != nil {
			return err
		}
		if !held {
			missing = append(missing, name)
		}
		a.Files = append(a.Files, manifest.FileName(name))
	}
	a.Files = append(a.Files, manifest.ManifestFile)
	if len(missing) > 0 {
		bar := ui.Progress(stderr, "fetching "+strings.Join(missing, ", "), total(m, missing))
		report, err := fetch.Release(ctx, best, sources, dst, fetch.Options{
			Names:    missing,
			Progress: func(done, _ int64) { bar.Set(done) },
		})
		bar.Close()
		a.Bytes, a.Resumed = report.Bytes, report.Resumed
		for _, p := range report.Providers {
			line := provider{URL: p.URL, Bytes: p.Bytes}
			if p.Dropped != nil {
				line.Code, line.Reason = p.Dropped.Code, p.Dropped.Detail
				slog.Warn("dropped", "provider", p.URL, "reason", p.Dropped.Error())
			}
			a.Providers = append(a.Providers, line)
		}
		if err != nil {
			return fmt.Errorf("fetching version %d: %w", m.Version, err)
		}
	}
	return dst.commit(best.Envelope())
}

func total(m manifest.Manifest, names []string) (n int64) {
	for _, name := range names {
		n += m.Artifacts[name].Size
	}
	return n
}

// readDocument reads a signed document, which is at most envelope.MaxBytes
// long; one byte more is enough to be refused for its size.
func readDocument(path string) ([]byte, error) {
	return statefile.ReadCapped(path, envelope.MaxBytes)
}
