package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"phase/qemu"
	"phase/tests/netlab"
)

// Laptop is a computer of a person on a segment: the plasmd of this checkout, in a
// network of its own, with one interface on the segment. What a person types there
// is Run.
type Laptop struct {
	// Peer is its peer id.
	Peer string

	plasmd, socket string
	log            string
	program        *netlab.Plugged
	port           *qemu.Port
}

// StartLaptop starts plasmd in dir, which keeps its files and its log. The program
// of this process must begin with netlab.BecomePlugged.
func StartLaptop(ctx context.Context, s *qemu.Segment, plasmd, dir string, at netip.Prefix, gateway netip.Addr) (*Laptop, error) {
	l := &Laptop{log: filepath.Join(dir, "laptop.log")}
	var err error
	if l.plasmd, err = filepath.Abs(plasmd); err != nil {
		return nil, err
	}
	// Short: the path of a socket has room for a hundred bytes.
	home, err := os.MkdirTemp("", "phase-laptop-")
	if err != nil {
		return nil, err
	}
	l.socket = filepath.Join(home, "plasmd.sock")
	log, err := os.Create(l.log)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
	defer log.Close()
	config := filepath.Join(home, "plasmd.toml")
	if err = os.WriteFile(config, nil, 0o600); err == nil {
		l.program, err = netlab.StartPlugged(netlab.Plug{Interface: "eth0", Addresses: []string{at.String()}, Gateway: gateway.String()}, log,
			l.plasmd, "start", "--config", config, "--state", home, "--data", home, "--socket", l.socket, "--root", filepath.Join(home, "root.json"))
	}
	if err == nil {
		l.port, err = s.Tap("laptop", func(frame []byte) { _, _ = l.program.TAP.Write(frame) }) // lost, when it is not raised
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go l.send()
	if l.Peer, err = l.wait(ctx, regexp.MustCompile(LinePeer[len("plasmd: "):])); err == nil {
		_, err = l.wait(ctx, regexp.MustCompile(`listening on (\S+)`))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// send carries the frames of the laptop to the segment.
func (l *Laptop) send() {
	for buf := make([]byte, 64<<10); ; {
		n, err := l.program.TAP.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		select {
		case <-l.program.Done:
			return
		default:
			if err == nil {
				l.port.Send(buf[:n])
			}
		}
	}
}

// wait waits for a line of its log, which is a file, and returns what the first
// group of the pattern matched.
func (l *Laptop) wait(ctx context.Context, pattern *regexp.Regexp) (string, error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		data, err := os.ReadFile(l.log)
		if err != nil {
			return "", err
		}
		if m := pattern.FindSubmatch(data); m != nil {
			return string(m[1]), nil
		}
		select {
		case <-again.C:
		case <-l.program.Done:
			return "", fmt.Errorf("the laptop's plasmd has ended; see %s", l.log)
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for %q of the laptop: %w", pattern, ctx.Err())
		}
	}
}

// Run is a command of plasmd ("update status") that asks its daemon, with input, and
// returns what it prints.
func (l *Laptop) Run(ctx context.Context, input io.Reader, command string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, l.plasmd, slices.Concat(strings.Fields(command), []string{"--socket", l.socket}, args)...)
	cmd.Stdin = input
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("plasmd %s: %w: %s", command, err, bytes.TrimSpace(problems.Bytes()))
	}
	return out, nil
}

// Close ends its plasmd and removes its files but for the log.
func (l *Laptop) Close() error {
	var err error
	if l.program != nil {
		err = l.program.Close()
	}
	if l.port != nil {
		_ = l.port.Close()
	}
	return errors.Join(err, os.RemoveAll(filepath.Dir(l.socket)))
}
