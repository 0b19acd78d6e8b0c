// Package update is the supervised program that keeps a node on the newest
// release: it wires package update to the node it runs on.
package update

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/daemon/finder"
	"phase/appliance/machine/firmware"
	"phase/appliance/machine/settings"
	"phase/appliance/network/lan"
	"phase/appliance/release/evidence"
	"phase/appliance/release/fetch"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout"
	"phase/appliance/release/operator"
	"phase/appliance/release/roots"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/survey"
	"phase/appliance/release/trial"
	"phase/appliance/release/trial/remotetrials"
	"phase/appliance/release/trust"
	"phase/appliance/release/update"
	"phase/appliance/release/update/kept"
)

const about = "Look for newer releases, verify them and jump into the newest (the machine's own service; needs root)."

type commandLine struct {
	State  string `short:"s" default:"/run/phase" placeholder:"DIR" help:"The folder of boot.json, which is read, and update/update.json, which is written (${default})."`
	Root   string `short:"r" default:"/etc/phase/root.json" placeholder:"FILE" help:"The root document that says whose signatures count (${default})."`
	Daemon string `default:"http://127.0.0.1:8080" placeholder:"URL" help:"plasmd's HTTP, which is waited for before anything is looked for (${default})."`
	Socket string `default:"/run/phase/plasmd/plasmd.sock" placeholder:"PATH" help:"plasmd's socket, by which releases beyond the local network are found (${default})."`
	Store  string `default:"/perm/phase/store" placeholder:"DIR" help:"The folder in which releases are kept (${default})."`
	Boot   string `default:"/boot" placeholder:"DIR" help:"The folder with the manifest of the release on the boot disk (${default})."`
	Group  int    `default:"900" placeholder:"GID" help:"The group that may ask on this program's own socket, update/update.sock in --state (${default}, plasmd's)."`

	Confine bool `help:"Build walls around the program: it reads the folders of a node, writes the store and its own, and of the system calls that change a machine makes that alone which loads a kernel."`
}

// Run is the program; it ends when ctx does, or when init has taken over for
// the jump.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var c commandLine
	if _, err := program.Parse("update", about, &c, args, stdout, stderr); err != nil {
		return err
	}
	n, err := c.node()
	built, failed := c.confine(n)
	if failed != nil {
		return failed
	}
	if err != nil {
		// Which release runs is the floor of what may be taken; without it
		// nothing may. The node stays up on what it has.
		if err := (&desk{commandLine: c, gate: operator.NewGate("", nil, rand.Reader), off: err.Error()}).open(ctx); err != nil {
			return err
		}
		return c.off(ctx, err, built)
	}
	n.walls, n.shown = built, &shown{node: n}
	// A node is useful before it is up to date.
	if err := answered(ctx, c.Daemon); err != nil {
		return err
	}
	n.openStore()
	desk := deskOf(c, n, n.options, n.data)
	if !n.options.Update {
		if err := desk.open(ctx); err != nil {
			return err
		}
		return c.off(ctx, nil, built)
	}
	n.failures = newFailures(n.options)
	if n.options.Mode != settings.Private { // which asks nobody without need
		go n.failures.watch(ctx, n)
	}
	n.startMirrors(ctx)
	desk.operator = update.NewOperator()
	if err := desk.open(ctx); err != nil {
		return err
	}
	if n.kept != nil {
		go n.watchStore(ctx, desk.operator)
	}
	u := n.updater()
	u.Operator = desk.operator
	if err := u.Run(ctx); err == nil {
		<-ctx.Done() // init is stopping the services, this one too
	} else if ctx.Err() == nil {
		return err
	}
	return nil
}

// node is the machine this program runs on.
type node struct {
	commandLine
	options  settings.Options
	roots    *walk.Roots
	running  trust.Verified
	trial    string   // as statefile.Boot has it
	data     string   // plasmd's folder
	watchdog string   // its name, or none
	peer     string   // this node's peer id; "" without a lasting one
	walls    []string // around this program
	shown    *shown
	staging  *kexec.Staging    // what an interrupted download left
	kept     *kept.Keeper      // the store on the disk; nil where nothing is kept
	failures *failures         // that peers tell of
	carried  map[string]string // files of the running release, by artifact; nil when it is the stub's
}

// node reads what init wrote about this machine.
func (c commandLine) node() (*node, error) {
	n := &node{commandLine: c}
	b, err := statefile.ReadBoot(c.State, &n.options)
	if err != nil {
		return nil, err
	}
	n.trial, n.watchdog, n.data = b.Trial, b.Watchdog, b.Data
	if n.data == "" {
		n.data = filepath.Join(c.State, "plasmd") // where nothing is kept
	}
	if b.BootedFrom == statefile.FromKexec && b.Held != nil {
		n.carried = b.Held.Artifacts
	}
	trusted, err := roots.LoadNamed(c.Root)
	if err != nil {
		return nil, err
	}
	for _, problem := range trusted.Problems {
		slog.Warn(problem.Error())
	}
	n.roots = walk.New(trusted.Roots[0], trusted.Roots[1:]...)
	if b.Held == nil {
		return nil, fmt.Errorf("this node does not know which release it runs, so it cannot tell newer from older")
	}
	data, err := statefile.ReadCapped(b.Held.Manifest, envelope.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the running release's manifest: %w", err)
	}
	n.running, err = trusted.Last().VerifyHeld(data, trust.Any, trust.Any)
	if err != nil {
		return nil, fmt.Errorf("the running release's manifest: %w", err)
	}
	return n, nil
}

// updater puts the loop together for this machine.
func (n *node) updater() update.Updater {
	client := fetch.NewClient(finder.Way(n.Socket))
	channel, arch := n.options.Channel, n.running.Manifest().Arch
	private := n.options.Mode == settings.Private
	serial := firmware.Serial("/")
	remote := &remotetrials.Client{
		HTTP: client, Manifest: "/" + layout.Manifest(channel, arch), Health: n.Daemon + "/health",
		Needed: func() bool { return !private && len(serial) > 0 && trial.Here().Where() == trial.Memory }, Up: trial.Up, Trial: n.trial, Machine: serial,
	}
	u := update.Updater{
		Root: n.roots.Last, Running: n.running, Channel: channel, Arch: arch,
		Providers: n.options.Provider,
		// Where the journal is, is asked each time: init mounts the firmware's
		// variables beside the services.
		Failed: func(d names.Digest) bool { return trial.Here().Failed(d) },
		Tried:  remote.Tried,
		Twin:   n.twin,
		Now:    n.now,
		Out:    n.out,
		May:    n.may,
		Drain:  n.drain,
		Ask: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			// plasmd may have heard of a new root in the DHT before any provider.
			if err := n.roots.From(ctx, client, n.Daemon); err != nil {
				slog.Debug("the roots that plasmd has", "error", err)
			}
			data, err := n.roots.Manifest(ctx, client, url, channel, arch)
			if err == nil {
				remote.Good(ctx, url)
			}
			return data, err
		},
		Ready: func(ctx context.Context, v trust.Verified) error {
			if err := n.guarded(v); err != nil {
				return err
			}
			options, err := kexec.OnNode(n.State, "update")
			if err != nil {
				return err
			}
			return kexec.Ready(ctx, v, options)
		},
		Fetch: n.fetchKept,
		Jump: func(ctx context.Context, v trust.Verified) error {
			remote.Begin(ctx, v.Digest())
			return kexec.Jump(ctx, v)
		},
		Report: n.shown.show,
	}
	if n.kept != nil {
		u.Floor, u.Verified, u.Startable = n.kept.Floor, n.kept.Verified, n.kept.Startable
		u.Taken = func(t operator.Taken) {
			if err := n.kept.Store.AddTaken(t); err != nil {
				slog.Warn(fmt.Sprintf("noting where version %d came from: %v", t.Version, err))
			}
		}
		u.Pinned = func() bool { return !n.kept.Store.Pin().Release.IsZero() }
	}
	u.Finders = finders(n.options.Mode, n.Socket, channel, arch)
	return u
}

// failed are the releases that did not come up on this machine.
func failed(j trial.Journal) (list []statefile.Failed) {
	records, err := j.Records()
	if err != nil {
		slog.Debug("what has failed here", "error", err)
	}
	for _, r := range records {
		if r.State() == trial.Bad {
			list = append(list, statefile.Failed{Version: r.Version, Digest: r.Digest.String(), Tries: r.Tries, Reason: r.Fate()})
		}
	}
	return list
}

// finders are the ways to find providers in a mode: a private node says nothing
// on the local network, a local one asks nobody beyond it.
func finders(mode settings.Mode, socket, channel, arch string) (list []survey.Finder) {
	if mode != settings.Private {
		list = append(list, lan.Finder{Channel: channel, Arch: arch, SkipOwn: true, Again: heardAgain})
	}
	if mode != settings.Local {
		list = append(list, finder.New(socket, channel, arch))
	}
	return list
}

// fetch downloads a release to where the kernel will take it from. What an
// interrupted download has left is used if it is of the same release, and
// freed if it is not.
func (n *node) fetch(ctx context.Context, v trust.Verified, providers []string) (p update.Payload, report fetch.Report, err error) {
	if n.staging != nil && n.staging.Release().Digest() != v.Digest() {
		err := n.staging.Close()
		n.staging = nil
		if err != nil {
			return nil, report, err
		}
	}
	if n.staging == nil {
		options, err := kexec.OnNode(n.State, "update")
		if err != nil {
			return nil, report, err
		}
		if n.staging, err = kexec.Stage(ctx, v, options); err != nil {
			return nil, report, err
		}
	}
	if report, err = fetch.Release(ctx, v, providers, n.staging, fetch.Options{Names: n.staging.Names(), Ways: []fetch.Way{finder.Way(n.Socket)}}); err != nil {
		return nil, report, err
	}
	p, n.staging = n.staging, nil // its owner closes it
	return p, report, nil
}

// evidenceDir is where a second release of one version is kept. /perm/phase is
// there only while the persistent partition is mounted.
const evidenceDir = "/perm/phase/evidence"

func (n *node) keepsEvidence() bool {
	info, err := os.Stat(filepath.Dir(evidenceDir))
	return err == nil && info.IsDir() && !n.options.NoWrite
}

// twin keeps a second release of the version at the floor, and says so once.
func (n *node) twin(manifest []byte) {
	if !n.keepsEvidence() {
		return
	}
	path, err := evidence.Keep(evidenceDir, manifest)
	if err != nil {
		slog.Warn(err.Error())
	} else if path != "" {
		slog.Warn(fmt.Sprintf("two releases of one version are signed: this node keeps to the first, and keeps the other as evidence in %s; show it to those who hold the release keys", path))
	}
}

// off shows that nothing is looked for, and why, and stays: a service that
// ended would be started again.
func (c commandLine) off(ctx context.Context, why error, walls []string) error {
	u := statefile.Update{Walls: walls, State: "off", History: []statefile.Attempt{}}
	if why != nil {
		u.Last = &statefile.Attempt{At: time.Now(), Result: "failed", Code: string(refusal.CodeOf(why)), Reason: why.Error()}
	}
	// Shown before it is said: one who reads the line finds it in /status.
	if err := statefile.Write(statefile.UpdateFolder(c.State), statefile.UpdateFile, u); err != nil {
		return err
	}
	if why != nil {
		slog.Error(fmt.Sprintf("no updates: %v", why))
	} else {
		slog.Info("updates are off (phase.update=off)")
	}
	<-ctx.Done()
	return nil
}

// answered waits until plasmd answers HTTP, with any status.
func answered(ctx context.Context, url string) error {
	client := &http.Client{Timeout: 2 * time.Second}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, url+"/health", nil)
		if err != nil {
			return program.Usagef("--daemon: %w", err)
		}
		if resp, err := client.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// heardAgain is how often the updater, which remembers a bounded number of
// providers, hears once more of all that are there.
const heardAgain = time.Minute
