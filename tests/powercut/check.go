package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"phase/appliance/base/tool"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
	"phase/qemu"
	"phase/tests/lab"
	"phase/tests/nbd"
)

// known is what a node has said of itself, and must say again.
type known struct {
	peer string
	// good is the newest version that has shown here that it works: nothing older
	// may run any more.
	good uint64
}

func (k known) and(later known) known {
	if k.peer == "" {
		k.peer = later.peer
	}
	k.good = max(k.good, later.good)
	return k
}

// heard is what the console has said after an event, up to now.
func (m *machine) heard(after qemu.Event, releases []lab.Release) (k known) {
	peer, good := regexp.MustCompile(lab.LinePeer), regexp.MustCompile(lineGood)
	for _, e := range m.Console.Events() {
		if e.Index <= after.Index || e.Kind != qemu.Line {
			continue
		}
		if g := peer.FindStringSubmatch(e.Text); g != nil && k.peer == "" {
			k.peer = g[1]
		}
		for _, r := range releases {
			if g := good.FindStringSubmatch(e.Text); g != nil && g[1] == r.Digest.String() {
				k.good = max(k.good, r.Manifest.Version)
			}
		}
	}
	return k
}

// identity is what a node says that is up.
type identity struct {
	Peer, Digest string
	Version      uint64
}

// up waits until a node runs a release, whichever, and holds and serves it. That
// may be another one than it first came up with: one on trial that is not healthy
// in time gives way.
func (m *machine) up(ctx context.Context, on qemu.Event) (id identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	held, _, err := m.Line(ctx, on, `plasmd: holds release \S+ version (\d+) (sha256:[0-9a-f]{64})`)
	if err != nil {
		return id, err
	}
	id.Digest = held[1]
	if id.Version, err = strconv.ParseUint(held[0], 10, 64); err != nil {
		return id, err
	}
	for _, want := range []struct {
		pattern string
		into    *string
	}{
		{fmt.Sprintf(`init: Phase .* \(version (%d), `, id.Version), new(string)},
		{lab.LineServing, new(string)},
		{lab.LinePeer, &id.Peer},
	} {
		groups, _, err := m.Line(ctx, on, want.pattern)
		if err != nil {
			return id, err
		}
		if len(groups) > 0 {
			*want.into = groups[0]
		}
	}
	return id, nil
}

// trouble are problems that a node names and that a power cut must not cause. A
// release that was tried and did not come up is none.
var trouble = regexp.MustCompile(`(?i)problem: .*(nothing (new )?is kept|begins anew|identity|history|token|disk|persistent|boot partition|panic|manifest)|damaged|Kernel panic|EXT4-fs error|I/O error`)

// judge waits until a node that was switched on again is up, and compares it with
// what it was.
func (m *machine) judge(ctx context.Context, on qemu.Event, before known, c *Cut) error {
	problem := func(format string, args ...any) { c.Problems = append(c.Problems, fmt.Sprintf(format, args...)) }
	id, err := m.up(ctx, on)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.Bricked = true
		problem("%v", err)
		return nil
	}
	c.Version = id.Version
	if names[id.Version] == "" {
		problem("it came up on version %d, which nobody has", id.Version)
	}
	if id.Version < before.good {
		problem("it came up on %s, and %s has shown that it works", names[id.Version], names[before.good])
	}
	if before.peer != "" && id.Peer != before.peer {
		problem("it was peer %s and is %s", before.peer, id.Peer)
	}
	if err := m.answers(ctx, id); err != nil {
		problem("%v", err)
	}
	for _, e := range m.Console.Events() {
		if e.Index > on.Index && e.Kind == qemu.Line && trouble.MatchString(e.Text) {
			problem("the console says: %s", e.Text)
		}
	}
	return nil
}

// answers asks the node itself. One that is about to jump answers again after it,
// perhaps as another version.
func (m *machine) answers(ctx context.Context, id identity) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		s, err := m.Status(ctx)
		if err == nil {
			if s.Peer != id.Peer {
				return fmt.Errorf("/status says that it is peer %s, the console %s", s.Peer, id.Peer)
			}
			for _, p := range s.Problems {
				if trouble.MatchString("problem: " + p) {
					return fmt.Errorf("/status has the problem %q", p)
				}
			}
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("/status: %w", err)
		}
	}
}

// checkPerm replays the journal of the persistent partition on a copy, as a mount
// does and no more, and expects e2fsck to find nothing after that but files that
// were deleted while open, which a mount deletes. Another copy stays as the cut
// left it, until the node has shown that it is whole.
func (c *Campaign) checkPerm(ctx context.Context, d *nbd.Disk, name string) (problems []string, err error) {
	dir, err := c.folder()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	replayed := path + ".replayed"
	if err := errors.Join(copyPartition(d, path), copyPartition(d, replayed)); err != nil {
		return nil, err
	}
	// 1: it has mended what needs no question, as the journal (e2fsck(8)).
	out, code, err := fsck(ctx, "-E", "journal_only", "-y", replayed)
	if err == nil && code <= 1 {
		out, code, err = fsck(ctx, "-fn", replayed)
	}
	if err != nil {
		return nil, err
	}
	if code != 0 && !onlyDeleted(out) {
		problems = append(problems, fmt.Sprintf("e2fsck ends with %d: %s (the file system is %s)", code, strings.ReplaceAll(out, "\n", "; "), path))
	}
	return problems, os.Remove(replayed)
}

// harmless are lines of e2fsck -fn that say nothing is wrong, or only that files
// were deleted while open, which a mount frees, or that the sums in the superblock
// are old, which a mount counts anew.
var harmless = regexp.MustCompile(`^(e2fsck |Pass \d|Fix\? no|Free (blocks|inodes) count wrong \(|$)|^(Clearing orphaned inode|Deleted inode|Inodes that were part of a corrupted orphan)|: .*files .*blocks$`)

// onlyDeleted says whether that is all.
func onlyDeleted(out string) bool {
	for line := range strings.Lines(out) {
		if !harmless.MatchString(strings.TrimSpace(line)) {
			return false
		}
	}
	return true
}

func fsck(ctx context.Context, args ...string) (out string, code int, err error) {
	path, err := tool.Find("e2fsck")
	if err != nil {
		return "", 0, err
	}
	b, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return strings.TrimSpace(string(b)), exit.ExitCode(), nil
	}
	return strings.TrimSpace(string(b)), 0, err
}

// copyPartition writes the persistent partition into a file, which is sparse.
func copyPartition(d *nbd.Disk, path string) error {
	table, _, err := gpt.Read(d)
	if err != nil {
		return err
	}
	perm, err := table.Partition(disk.Perm)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(copySparse(f, io.NewSectionReader(d, perm.Start, perm.Size)), f.Truncate(perm.Size), f.Close())
}

func copySparse(f *os.File, r io.Reader) error {
	buf := make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 && len(bytes.TrimLeft(buf[:n], "\x00")) > 0 {
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
