package kexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/release/choice"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// boot starts the release of the store that this machine should run instead of
// the one on its boot disk. Init runs it before the services. It returns without
// an error when there is none; what cannot be loaded is passed over, and said.
func (cli commandLine) boot(ctx context.Context, stdout io.Writer) error {
	store, err := disk.Open(cli.Store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var options settings.Options
	b, err := statefile.ReadBoot(cli.State, &options)
	if err != nil {
		return err
	}
	if !options.Cache || options.NoWrite {
		return nil
	}
	node, root, err := cli.chooser(store, b, options)
	if err != nil {
		return err
	}
	list, err := choice.Candidates(store, root, names.RunningArch(), trial.Here())
	if err != nil {
		slog.Warn(err.Error())
	}
	for _, c := range list {
		if why := node.Refusal(c); why != "" && c.Digest() != node.Running.Digest() {
			slog.Info(fmt.Sprintf("version %d of the store is not started: %s", c.Manifest().Version, why))
		}
	}
	for _, c := range node.Order(list) {
		err := cli.start(ctx, store, c, stdout)
		if err == nil || ctx.Err() != nil {
			return err
		}
		slog.Warn(fmt.Sprintf("version %d of the store is not started: %v", c.Manifest().Version, err))
	}
	return nil
}

// chooser is what the choice is made for, and the newest root that the store leads
// to from the one given.
func (cli commandLine) chooser(store *disk.Store, b statefile.Boot, options settings.Options) (n choice.Node, _ trust.Root, err error) {
	trusted, err := cli.LoadRoots()
	given := trusted.Last()
	if err != nil {
		return n, given, err
	}
	known := walk.New(given)
	if err := staging.Roots(store.Path(), known); err != nil {
		slog.Warn(err.Error()) // the chain ends there
	}
	root := known.Last()
	if b.Held == nil {
		return n, root, fmt.Errorf("this node does not know which release it runs, so it cannot tell newer from older")
	}
	data, err := statefile.ReadCapped(b.Held.Manifest, envelope.MaxBytes)
	if err != nil {
		return n, root, fmt.Errorf("reading the running release's manifest: %w", err)
	}
	// What runs was verified by the root it carries; a later one may have taken
	// its key back.
	running, err := given.VerifyHeld(data, trust.Any, trust.Any)
	if err != nil {
		return n, root, fmt.Errorf("the running release's manifest: %w", err)
	}
	pin := store.Pin()
	return choice.Node{
		Running: running, Channel: options.Channel, Trials: mayTry(options, b.Watchdog), Up: trial.Up(), Pin: pin.Release, Next: pin.Next,
	}, root, nil
}

// mayTry says whether a release that is not good yet may be tried at this start.
// The clock is the one that init has raised to the release that runs.
func mayTry(o settings.Options, watchdog string) bool {
	window, err := settings.ParseWindow(o.Window)
	now := time.Now()
	return o.Update && err == nil && window.Opens(now).Equal(now) && (!o.RequireWatchdog || linux.HardwareWatchdog(watchdog))
}

// start loads a release of the store and has init jump into it.
func (cli commandLine) start(ctx context.Context, store *disk.Store, c choice.Candidate, stdout io.Writer) error {
	options, err := kexec.OnNode(cli.State, "")
	if err != nil {
		return err
	}
	files := kexec.Files{Verified: c.Verified, Open: func(artifact string) (*os.File, error) {
		return store.Blob(c.Manifest().Artifacts[artifact].SHA256)
	}}
	staging, err := files.Stage(ctx, options, func(int64) {})
	if err != nil {
		return err
	}
	defer staging.Close()
	if err := staging.Load(ctx); err != nil {
		return err
	}
	if err := tell(stdout, cli, staging); err != nil {
		return err
	}
	if err := kexec.Jump(ctx, c.Verified); err != nil {
		return err
	}
	<-ctx.Done() // init ends this machine now
	return nil
}
