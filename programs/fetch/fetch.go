// Package fetch is the command line of appliance/release/fetch: it
// finds the newest release that providers offer and the root vouches for, and
// brings it into a folder that `plasmd serve` serves. What an interrupted run
// left behind is used again; a manifest is written last, so that a folder with
// one is whole.
package fetch

import (
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
	"phase/appliance/network/lan"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots"
	"phase/appliance/release/trust"
)

const about = "Download a release, verify it, and keep it in a folder."

// lookTime is how long the network is asked for providers when none is named:
// a node answers within a second.
const lookTime = 3 * time.Second

type commandLine struct {
	roots.Flag
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
		known, ok := layout.ArtifactName(name)
		if !ok {
			return program.Usagef("--artifact %.70q is no artifact's name", name)
		}
		c.Artifact[i] = known
	}
	return nil
}

func (c *commandLine) fetch(ctx context.Context, a *answer, stderr io.Writer) error {
	root, err := c.LoadRoot()
	if err != nil {
		return err
	}
	if err := staging.CheckRoot(c.Output, root); err != nil {
		return err
	}
	floor, err := c.floor(root)
	if err != nil {
		return err
	}
	providers := c.Provider
	if len(providers) == 0 {
		if providers, err = c.look(ctx); err != nil {
			return err
		}
	}
	best, sources, err := c.choose(ctx, root, floor, providers, a)
	if err != nil {
		if code := refusal.CodeOf(err); floor.Valid() && (code == refusal.Rollback || code == refusal.Equivocation) {
			err = fmt.Errorf("%w; %s holds version %d, so choose another folder for that one", err, c.Output, floor.Manifest().Version)
		}
		return err
	}
	m := best.Manifest()
	a.Version, a.Digest = m.Version, best.Digest().String()
	a.Folder = filepath.Join(c.Output, layout.Release(m.Channel, m.Arch))
	if err := c.bring(ctx, best, sources, a, stderr); err != nil {
		return err
	}
	return staging.KeepRoot(c.Output, root)
}

// look finds providers on the local network.
func (c *commandLine) look(ctx context.Context) ([]string, error) {
	found, err := lan.Find(ctx, lan.BrowseOptions{Channel: c.Channel, Arch: c.Arch, Log: slog.Default()}, lookTime)
	if err != nil {
		return nil, err
	}
	urls := inTurns(found)
	if len(urls) == 0 {
		return nil, refusal.New(refusal.Unreachable, "nobody on the network offers %s/%s; name a provider with --provider URL", c.Channel, c.Arch)
	}
	return urls, nil
}

// maxAsked is how many addresses are asked at most; more than any network has.
const maxAsked = 2048

// inTurns lists the addresses to ask: one of each sender, then a second of each,
// and so on, so that whoever announces much comes before nobody.
func inTurns(found []lan.Found) (urls []string) {
	var senders []string
	bySender := map[string][]string{}
	known := map[string]bool{}
	for _, f := range found {
		by := f.Interface + " " + f.Source.String()
		if bySender[by] == nil {
			senders = append(senders, by)
		}
		for _, u := range f.URLs {
			if !known[by+" "+u] {
				known[by+" "+u] = true
				bySender[by] = append(bySender[by], u)
			}
		}
	}
	listed := map[string]bool{}
	for turn := 0; ; turn++ {
		more := false
		for _, by := range senders {
			if turn >= len(bySender[by]) {
				continue
			}
			more = true
			if u := bySender[by][turn]; !listed[u] && len(urls) < maxAsked {
				listed[u] = true
				urls = append(urls, u)
			}
		}
		if !more {
			return urls
		}
	}
}

// floor is the release that the folder holds already. It is not valid when
// there is none, or none that the root vouches for.
func (c *commandLine) floor(root trust.Root) (trust.Verified, error) {
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

// choose asks every provider for its manifest and picks the newest that the
// root vouches for; sources are those who offer exactly that one.
func (c *commandLine) choose(ctx context.Context, root trust.Root, floor trust.Verified, providers []string, a *answer) (trust.Verified, []string, error) {
	policy := trust.Policy{Channel: c.Channel, Arch: c.Arch, Floor: c.Floor, Now: time.Now()}
	if held := floor.Manifest().Version; floor.Valid() && held >= c.Floor {
		policy.Floor, policy.FloorDigest = held, floor.Digest()
	}
	offers := fetch.Offers(ctx, providers, root, policy)
	var best trust.Verified
	var refused []error
	for _, o := range offers {
		if o.Err != nil {
			slog.Warn("refused", "provider", o.URL, "reason", o.Err.Error())
			a.Providers = append(a.Providers, provider{URL: o.URL, Code: refusal.CodeOf(o.Err), Reason: ui.Clean(o.Err.Error())})
			refused = append(refused, fmt.Errorf("%s: %w", o.URL, o.Err))
			continue
		}
		if !best.Valid() || o.Release.Manifest().Version > best.Manifest().Version {
			best = o.Release
		}
	}
	if ctx.Err() != nil {
		return best, nil, context.Cause(ctx)
	}
	if !best.Valid() {
		return best, nil, telling(refused) // all are in the log
	}
	var sources []string
	for _, o := range offers {
		switch {
		case o.Err != nil:
		case o.Release.Digest() == best.Digest():
			sources = append(sources, o.URL)
		case o.Release.Manifest().Version == best.Manifest().Version:
			slog.Warn("two releases of one version are offered; the first is taken",
				"version", best.Manifest().Version, "taken", best.Digest().String(), "other", o.Release.Digest().String(), "provider", o.URL)
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
		bar := ui.Progress(stderr, "fetching "+strings.Join(missing, ", "), total)
		report, err := fetch.Release(ctx, best, sources, place, fetch.Options{
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
	return place.Commit()
}
