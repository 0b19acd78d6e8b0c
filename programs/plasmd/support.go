package plasmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/redact"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/config"
	"phase/appliance/daemon/journal"
	"phase/appliance/daemon/status"
	"phase/appliance/daemon/support"
	"phase/appliance/machine/settings"
	"phase/appliance/release/operator"
)

// bundle is what the daemon tells in a support bundle.
type bundle struct {
	log            *journal.Log
	secrets        []string
	stateDir, data string
	node           bool
	conf           config.Config
	peers          func(context.Context) api.Peers
	update         api.Updater
	board          atomic.Pointer[status.Status] // once it serves
	started        time.Time
}

// write writes the bundle as it stands.
func (b *bundle) write(ctx context.Context, w io.Writer) error {
	return support.Write(ctx, w, b.parts(), redact.New(b.secrets...), time.Now())
}

// parts are all that goes into a bundle, in its order. What is not listed here is not
// in it: no key, no token, no environment, and nothing of jobs, neither what was run
// nor what it read and wrote.
func (b *bundle) parts() []support.Part {
	value := func(read func() (any, error)) func(context.Context) (any, error) {
		return func(context.Context) (any, error) { return read() }
	}
	return []support.Part{
		{Name: "version", Read: value(b.version)},
		{Name: "status", Read: value(func() (any, error) {
			board, err := b.served()
			if err != nil {
				return nil, err
			}
			return board.Report(), nil
		})},
		{Name: "metrics", Read: value(b.metrics)},
		{Name: "options", Read: value(b.options)},
		{Name: "config", Read: value(func() (any, error) { return b.conf.Text() })},
		{Name: "update", Read: b.updates},
		{Name: "peers", Read: func(ctx context.Context) (any, error) {
			if b.peers == nil {
				return nil, errors.New("this daemon has no part in the network of nodes")
			}
			return b.peers(ctx), nil
		}},
		{Name: "disks", Read: value(func() (any, error) {
			return support.ReadDisks("/", "/boot", "/perm", b.stateDir, b.data), nil
		})},
		{Name: "memory", Read: value(func() (any, error) { return proc("meminfo") })},
		{Name: "load", Read: value(func() (any, error) { return proc("loadavg") })},
		{Name: "log", Read: value(func() (any, error) { return b.lines(false) })},
		{Name: "kernel", Read: value(func() (any, error) { return b.lines(true) })},
	}
}

// served is what answers /status.
func (b *bundle) served() (*status.Status, error) {
	board := b.board.Load()
	if board == nil {
		return nil, errors.New("the daemon does not serve yet")
	}
	return board, nil
}

// maxProc is how much of a file of /proc is read.
const maxProc = 64 << 10

func proc(name string) (string, error) {
	data, err := statefile.ReadCapped(filepath.Join("/proc", name), maxProc)
	return string(data), err
}

func (b *bundle) version() (any, error) {
	kernel, _ := proc("sys/kernel/osrelease") // "" where it is not told
	v := map[string]any{
		"name": "plasmd", "version": program.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": names.RunningArch(),
		"kernel": strings.TrimSpace(kernel), "node": b.node,
	}
	if !b.started.IsZero() {
		v["started"] = b.started.UTC()
	}
	return v, nil
}

// response is an answer of a handler, kept.
type response struct {
	bytes.Buffer
	header http.Header
}

func (p *response) Header() http.Header { return p.header }
func (p *response) WriteHeader(int)     {}

func (b *bundle) metrics() (any, error) {
	board, err := b.served()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	p := &response{header: http.Header{}}
	board.Pages(true)["/metrics"].ServeHTTP(p, r)
	return p.String(), nil
}

// options are the settings that a node was started with.
func (b *bundle) options() (any, error) {
	if !b.node {
		return nil, errors.New("only a node that Phase has booted has them")
	}
	var options settings.Options
	_, err := statefile.ReadBoot(b.stateDir, &options)
	return options, err
}

// updates are the releases that the node has, the trials of each, and what it tried.
func (b *bundle) updates(ctx context.Context) (any, error) {
	answer, err := b.update.Do(ctx, "", operator.Question{Do: operator.Status})
	if err != nil {
		return nil, err
	}
	return answer.Report.Whole(), nil
}

// lines are the log: that of the kernel, or of all the programs.
func (b *bundle) lines(kernel bool) (any, error) {
	if kernel && !b.node {
		return nil, errors.New("this daemon may not read it; `journalctl -k` shows it")
	}
	all, _ := b.log.Last(0, journal.Query{})
	var text strings.Builder
	for _, line := range all {
		if (line.Service == journal.Kernel) == kernel {
			fmt.Fprintf(&text, "%s %s %s: %s\n", line.Time.Format("2006-01-02T15:04:05.000Z"), line.Level, line.Service, line.Text)
		}
	}
	return text.String(), nil
}

// supportCmd writes a support bundle to a file.
type supportCmd struct {
	owning
	File string `arg:"" optional:"" help:"Where to write it, - for the output; default: phase-support-TIME.tar.gz here."`
}

func (c supportCmd) run(ctx context.Context, stdout, stderr io.Writer) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	write := client.Support
	if why := client.Reach(ctx); c.Node == "" && errors.Is(why, api.ErrNoDaemon) {
		fmt.Fprintf(stderr, "%s: the archive has what this user can read without it\n", ui.Clean(why.Error()))
		write = func(ctx context.Context, w io.Writer) error { return writeAlone(ctx, w, why) }
	}
	if c.File == "-" {
		if ui.IsTerminal(stdout) {
			return program.Usagef("an archive is nothing for a terminal: name a file, or pass it on to another program")
		}
		return write(ctx, stdout)
	}
	path := c.File
	if path == "" {
		path = "phase-support-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the support bundle: %w", err)
	}
	err = errors.Join(write(ctx, f), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path)) // half of it is of no use
	}
	_, err = fmt.Fprintf(stderr, "%s is for those who help you: it holds names, addresses and the log, and no key or token; look through it before you publish it\n", ui.Clean(path))
	return err
}
