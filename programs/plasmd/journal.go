package plasmd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/syslog"
	"phase/appliance/daemon/forward"
	"phase/appliance/daemon/journal"
	"phase/appliance/daemon/status"
	"phase/appliance/daemon/tasks"
	"phase/appliance/machine/linux"
)

// kernelLog is what --kernel-log names, nil for none. No process that is started
// from here has it.
func (c startCmd) kernelLog() *os.File {
	if c.KernelLog < 3 {
		return nil
	}
	syscall.CloseOnExec(c.KernelLog)
	return os.NewFile(uintptr(c.KernelLog), "the kernel's log")
}

// processBegan is when this process was started, after the start of the machine, less
// what the clock of the kernel's log may differ. init waits for twice as long before
// it starts a plasmd again.
var processBegan = linux.Up() - 250*time.Millisecond

// takeKernelLog is the task that takes the lines of the kernel and of the other
// programs of a node into the log. A node does without them when they cannot be
// read, and says so.
func takeKernelLog(log *journal.Log, f *os.File) tasks.Task {
	if f == nil {
		return nil
	}
	return tasks.New(func(ctx context.Context, ready func()) error {
		ready()
		if err := log.FollowKernel(ctx, f, linux.Up, processBegan); err != nil {
			fmt.Fprintf(log, "problem: %v; `plasmd logs` shows the lines of plasmd alone\n", err)
		}
		<-ctx.Done()
		return nil
	})
}

// syslogServer is the server that the flag or the configuration names; none without
// either.
func (c startCmd) syslogServer(private bool, configured string) (to syslog.Target, err error) {
	url := c.Syslog
	if url == "" {
		url = configured
	}
	if url == "" {
		return to, nil
	}
	if to, err = syslog.ParseTarget(url); err != nil {
		return to, program.Usagef("--syslog: %w", err)
	}
	if private {
		return to, program.Usagef("mode private leaves no trace on the network, and a syslog server would have one: leave --syslog and log.syslog out, or choose another mode")
	}
	return to, nil
}

// giveLog has the log hold no secret of the node, take the lines of the kernel's log,
// unless that is nil, and be sent to a server, unless it is none.
func (s *server) giveLog(log *journal.Log, to syslog.Target, kernel *os.File) {
	log.Hide(s.bundle.secrets...)
	s.kernelLog = takeKernelLog(log, kernel)
	if to.IsZero() {
		return
	}
	host := s.id.Name()
	if !s.node {
		// Beside the other logs of this machine, which go by its name.
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	s.forward = forward.New(log, to, host, log)
	fmt.Fprintf(log, "sending the log to %s\n", to)
}

// forwarding is the task that sends the log; what was sent and lost is among the
// metrics.
func (s server) forwarding(board *status.Status) tasks.Task {
	return tasks.New(func(ctx context.Context, ready func()) error {
		ready()
		if err := status.Counts(board.Registry(), "phase_log_lines_total", "Lines of the log for the syslog server.", "result", s.forward.Counts); err != nil {
			return err
		}
		return s.forward.Run(ctx)
	})
}

// maxKey is how much of the file of a key is read.
const maxKey = 16 << 10

// ownSecrets are what no line of the log may show: the token, and the text of the
// identity's key.
func ownSecrets(token, data string) []string {
	secrets := []string{token}
	if data == "" {
		return secrets
	}
	pem, err := statefile.ReadCapped(filepath.Join(data, statefile.IdentityFile), maxKey)
	if err != nil {
		return secrets // a key that is not kept is not written anywhere
	}
	for line := range bytes.Lines(pem) {
		if line = bytes.TrimSpace(line); !bytes.HasPrefix(line, []byte("-----")) {
			secrets = append(secrets, string(line))
		}
	}
	return secrets
}
