// Package fetch is the command line of appliance/release/fetch: it
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
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/base/ui/bar"
	"phase/appliance/network/lan"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots"
	"phase/appliance/release/roots/walk"
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
	roots.Flag
	Channel  string   `type:"channel" short:"c" default:"stable" help:"stable, testing or nightly (${default})."`
	Arch     string   `type:"arch" short:"A" placeholder:"ARCH" help:"x86_64 or arm64 (default: this machine's)."`
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
		if err := program.PrintJSON(stdout, a); err != nil {
			return err
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
	if c.Arch == "" {
		c.Arch = names.RunningArch()
	}
	for _, p := range c.Provider {
		if _, err := fetch.ParseBase(p); err != nil {
			return program.Usagef("--provider: %w", err)
		}
	}
	for i, name := range c.Artifact {
		known, ok := layout.ArtifactName(name)
		if !ok {
			return program.Usagef("--artifact %.70q is no artifact's name", name)
		}
		c.Artifact[i] = known
	}
	return nil
}

func (c *commandLine) fetch(ctx context.Context, a *answer, stderr io.Writer) error {
	trusted, err := c.LoadRoots()
	if err != nil {
		return err
	}
	if err := staging.CheckRoot(c.Output, trusted.Roots[0]); err != nil {
		return err
	}
	known := walk.New(trusted.Roots[0], trusted.Roots[1:]...)
	if err := staging.Roots(c.Output, known); err != nil {
		return err
	}
	held, err := c.held(known.Last())
	if err != nil {
		return err
	}
	best, sources, err := c.choose(ctx, known, held, a)
	if err != nil {
		if code := refusal.CodeOf(err); held.Valid() && (code == refusal.Rollback || code == refusal.Equivocation) {
			err = fmt.Errorf("%w; %s holds version %d, so choose another folder for that one", err, c.Output, held.Manifest().Version)
		}
		return err
	}
	m := best.Manifest()
	a.Version, a.Digest = m.Version, best.Digest().String()
	a.Folder = filepath.Join(c.Output, layout.Release(m.Channel, m.Arch))
	if err := c.bring(ctx, best, sources, a, stderr); err != nil {
		return err
	}
	for _, root := range known.List() {
		if err := staging.KeepRoot(c.Output, root); err != nil {
			return err
		}
	}
	return nil
}

// held is the release that the folder holds already: nothing from the network
// may take it back to an older one. It is not valid when there is none, or none
// that the root vouches for.
func (c *commandLine) held(root trust.Root) (trust.Verified, error) {
	held, err := staging.Held(c.Output, root, c.Channel, c.Arch)
	var refused *refusal.Refusal
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(err, &refused):
		slog.Warn("what the folder holds will be replaced", "reason", err.Error())
	case err != nil:
		return held, err
	}
	return held, nil
}

// choose asks the providers named, or those on the local network, for their
// manifests and picks the newest that the root vouches for; sources are those
// that offer exactly that one.
func (c *commandLine) choose(ctx context.Context, known *walk.Roots, held trust.Verified, a *answer) (trust.Verified, []string, error) {
	// A root that comes while providers are asked may have taken back the key
	// that signed the offer, or the release in the folder, which then is no
	// floor any more.
	verify := func(envelope []byte) (trust.Verified, error) {
		root := known.Last()
		policy := trust.Policy{Channel: c.Channel, Arch: c.Arch, Floor: c.Floor, Now: time.Now()}
		if version, digest := root.Floor(c.Channel, c.Arch, held.Envelope()); version >= c.Floor {
			policy.Floor, policy.FloorDigest = version, digest
		}
		return root.Verify(envelope, policy)
	}
	client := fetch.NewClient()
	defer client.CloseIdleConnections()
	s := survey.Survey{
		Get: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			return known.Manifest(ctx, client, url, channel, arch)
		},
		Named: c.Provider, Channel: c.Channel, Arch: c.Arch, AtOnce: asksAtOnce, Once: true, Settle: settle,
		Check: func(_ context.Context, _, _, _ string, envelope []byte) (trust.Verified, error) {
			return verify(envelope)
		},
	}
	if len(c.Provider) == 0 {
		s.Finders, s.Look = []survey.Finder{lan.Finder{Channel: c.Channel, Arch: c.Arch}}, lookTime
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
			_, said.Err = verify(said.Release.Envelope())
		}
		if said.Err == nil {
			offers = append(offers, survey.Offer{Provider: said.URL, Release: said.Release})
			continue
		}
		slog.Warn("refused", "provider", said.URL, "reason", said.Err.Error())
		a.Providers = append(a.Providers, provider{URL: said.URL, Code: refusal.CodeOf(said.Err), Reason: ui.Clean(said.Err.Error())})
		refused = append(refused, fmt.Errorf("%s: %w", said.URL, said.Err))
	}
	if len(offers) == 0 {
		if len(refused) > 0 {
			return trust.Verified{}, nil, telling(refused) // all are in the log
		}
		return trust.Verified{}, nil, refusal.New(refusal.Unreachable, "nobody on the network offers %s/%s; name a provider with --provider URL", c.Channel, c.Arch)
	}
	// Of two releases of one version the first named is taken.
	best := slices.MaxFunc(offers, func(x, y survey.Offer) int {
		return cmp.Compare(x.Release.Manifest().Version, y.Release.Manifest().Version)
	}).Release
	var sources []string
	for _, o := range offers {
		switch {
		case o.Release.Digest() == best.Digest():
			sources = append(sources, o.Provider)
		case o.Release.Manifest().Version == best.Manifest().Version:
			slog.Warn("two releases of one version are offered; the first is taken",
				"version", best.Manifest().Version, "taken", best.Digest().String(), "other", o.Release.Digest().String(), "provider", o.Provider)
		}
	}
	return best, sources, nil
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
	place, err := staging.Open(c.Output, best)
	if err != nil {
		return err
	}
	defer place.Close()
	wanted := c.Artifact
	if len(wanted) == 0 {
		wanted = manifest.Required
	}
	missing, err := place.Missing(ctx, wanted)
	if err != nil {
		return err
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(wanted))) {
		a.Files = append(a.Files, layout.FileName(name))
	}
	a.Files = append(a.Files, layout.ManifestFile)
	if len(missing) > 0 {
		var total int64
		for _, name := range missing {
			total += m.Artifacts[name].Size
		}
		shown := bar.Start(stderr, "fetching "+strings.Join(missing, ", "), total)
		report, err := fetch.Release(ctx, best, sources, place, fetch.Options{
			Names:    missing,
			Progress: func(done, _ int64) { shown.Set(done) },
		})
		shown.Close()
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
	return place.Commit()
}
