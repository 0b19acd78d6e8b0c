package kexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/control"
	"phase/appliance/machine/kexecload"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/release/trust"
)

// perm is the folder on the persistent partition. It is there only while that
// is mounted.
const perm = "/perm/phase"

// OnNode returns the Options of the node this program runs on. stateDir is
// where init's boot.json is, self the name of the service that asks, which is
// spared when services are paused (empty: none is).
func OnNode(stateDir, self string) (Options, error) {
	cmdline, err := runningCmdline()
	if err != nil {
		return Options{}, err
	}
	var options settings.Options
	boot, err := statefile.ReadBoot(stateDir, &options)
	if err != nil {
		return Options{}, fmt.Errorf("reading how this node was started: %w", err)
	}
	o := Options{
		Kernel:   kexecload.Running{},
		Running:  cmdline,
		Conf:     options.Conf,
		Memory:   linux.ReadMemory,
		Freeable: func(ctx context.Context) int64 { return freeable(ctx, self) },
		Pause: func(ctx context.Context) error {
			_, err := control.Do(ctx, control.Socket, control.Request{Do: control.Pause, Service: self})
			return err
		},
		Resume: func(ctx context.Context) error {
			_, err := control.Do(ctx, control.Socket, control.Request{Do: control.Resume})
			return err
		},
	}
	if boot.Held != nil && boot.Held.Artifacts["initramfs"] != "" {
		o.First = func() ([]byte, error) { return firstOf(boot.Held.Artifacts["initramfs"]) }
	}
	if info, err := os.Stat(perm); err == nil && info.IsDir() && options.Cache && !options.NoWrite {
		o.Dir = filepath.Join(perm, "staging")
	}
	return o, nil
}

// OffNode returns Options for a dry run on a machine that is no node.
func OffNode() (Options, error) {
	cmdline, err := runningCmdline()
	return Options{Running: cmdline, Memory: linux.ReadMemory, Freeable: func(context.Context) int64 { return 0 }}.DryRun(), err
}

// DryRun returns Options that read and verify everything and do not touch the
// machine: nothing is loaded, no service is paused.
func (o Options) DryRun() Options {
	o.Kernel = nowhere{}
	o.Pause = func(context.Context) error { return nil }
	o.Resume = o.Pause
	return o
}

// nowhere is a Loader that loads nothing.
type nowhere struct{}

func (nowhere) Load(linux.Part, linux.Part, string) error { return nil }

func runningCmdline() (string, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", fmt.Errorf("reading the running command line: %w", err)
	}
	return strings.TrimSpace(string(cmdline)), nil
}

// Jump asks init to count the trial and to enter the kernel that was loaded for
// v. It returns nil when init has taken over: this program is about to be
// stopped. When init will not, the kernel is unloaded and services that were
// paused for it are started again.
func Jump(ctx context.Context, v trust.Verified) error {
	// Init stops this program as soon as it has said yes. That signal ends ctx,
	// and must not be taken for a no: the kernel would be unloaded under init.
	ctx = context.WithoutCancel(ctx)
	_, err := control.Do(ctx, control.Socket, control.Request{Do: control.Kexec, Trial: v.Digest().String(), Version: v.Manifest().Version})
	if err == nil {
		return nil
	}
	err = errors.Join(err, kexecload.Running{}.Unload())
	// That nothing was paused is the usual answer, and no news.
	_, _ = control.Do(ctx, control.Socket, control.Request{Do: control.Resume})
	if refused, ok := errors.AsType[*control.Refused](err); ok && refused.Code != "" {
		return refusal.New(refusal.Code(refused.Code), "%s", refused.Detail)
	}
	return err
}

// freeable adds up the memory that nothing but the services themselves uses,
// as init lists them; self is left out. Not knowing is 0: nothing is counted on.
func freeable(ctx context.Context, self string) int64 {
	answer, err := control.Do(ctx, control.Socket, control.Request{Do: control.Status})
	if err != nil {
		return 0
	}
	var sum int64
	for _, s := range answer.Services {
		if s.Name == self || s.PID == 0 {
			continue
		}
		data, err := statefile.ReadCapped(filepath.Join("/proc", strconv.Itoa(s.PID), "status"), 64<<10)
		if err == nil { // else it has just ended
			sum += parseAnon(string(data))
		}
	}
	return sum
}

// parseAnon reads RssAnon of /proc/PID/status (proc_pid_status(5)), in bytes.
func parseAnon(status string) int64 {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, "RssAnon:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return 0
		}
		return n << 10
	}
	return 0
}
