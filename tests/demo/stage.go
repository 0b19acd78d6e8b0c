package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
)

// patience is how long one step may take before the demo calls it not happened.
const patience = 4 * time.Minute

// stage is what every story needs.
type stage struct {
	*teller
	life   context.Context // of the machines, which outlive the step that boots them
	lab    *lab.Lab
	dir    string // consoles and what came back
	plasmd string
	wasm   string
	memory int
	nodes  []*lab.Node
}

// step is one sentence of a story, and what makes it true.
type step struct {
	what string
	do   func(context.Context) (detail string, err error)
}

func (c *commandLine) stage(ctx context.Context, t *teller, folder string) (*stage, error) {
	arch, err := names.ParseArch(c.Arch)
	if err != nil {
		return nil, err
	}
	s := &stage{
		teller: t, life: ctx, memory: c.Memory,
		dir:    filepath.Join(c.Build, folder),
		plasmd: filepath.Join(c.Build, "bin", "plasmd"),
		wasm:   filepath.Join(c.Build, "examples", "hello.wasm"),
	}
	s.lab, err = lab.Open(c.Build, filepath.Join(s.dir, "disks"), arch)
	return s, err
}

// play tells a story, and ends with an error at the first step that did not
// happen.
func (s *stage) play(ctx context.Context, title string, story []step) error {
	s.title(title)
	for _, one := range story {
		if err := s.tell(ctx, one); err != nil {
			return fmt.Errorf("%s: %w\nthe consoles are in %s", one.what, err, s.dir)
		}
	}
	return s.summary(s.dir)
}

// close ends every machine that is still on, and removes the disks.
func (s *stage) close() {
	for _, n := range s.nodes {
		_ = n.Close() // the story is over; what is left has no say in it
	}
	_ = s.lab.Clean()
}

func (s *stage) boot(name, disk string, segment *qemu.Segment) (*lab.Node, error) {
	n, err := lab.Start(s.life, s.dir, qemu.Config{
		Name: name, Arch: s.lab.Arch, MemoryMB: s.memory,
		Disks: []qemu.Disk{{Path: disk}}, NICs: []qemu.NIC{{Segment: segment}},
	})
	if err == nil {
		s.nodes = append(s.nodes, n)
	}
	return n, err
}

// up powers a machine on and waits until it is a whole node.
func (s *stage) up(ctx context.Context, name, disk string, version uint64, segment *qemu.Segment) (n *lab.Node, id lab.Identity, detail string, err error) {
	if n, err = s.boot(name, disk, segment); err != nil {
		return nil, id, "", err
	}
	if id, err = n.Up(ctx, lab.Begin, version); err != nil {
		return n, id, "", err
	}
	serving, err := n.Console.Wait(ctx, lab.LineServing)
	return n, id, fmt.Sprintf("%s, answering %s after power on", short(id.Peer), took(serving.After)), err
}

func took(d time.Duration) string { return ui.Duration(d) }

// short is the readable end of a peer id.
func short(peer string) string { return "peer …" + peer[max(0, len(peer)-8):] }

// jumps waits until the node is whole again, in release r, and checks over
// HTTP that it serves exactly the bytes that were signed.
func (s *stage) jumps(ctx context.Context, n *lab.Node, r lab.Release) (lab.Identity, string, error) {
	_, jump, err := n.Line(ctx, lab.Begin, lab.LineJump)
	if err != nil {
		return lab.Identity{}, "", err
	}
	id, err := n.Up(ctx, jump, r.Manifest.Version)
	if err != nil {
		return id, "", err
	}
	if _, _, err := n.Line(ctx, jump, `booted from kexec`); err != nil {
		return id, "", err
	}
	serving, err := n.Console.WaitAfter(ctx, jump, lab.LineServing)
	if err != nil {
		return id, "", err
	}
	if err := s.serves(ctx, n, r); err != nil {
		return id, "", err
	}
	return id, fmt.Sprintf("jump to serving again %s, the signed bytes", took(serving.Host.Sub(jump.Host))), nil
}

// serves compares everything a node serves with what was signed.
func (s *stage) serves(ctx context.Context, n *lab.Node, r lab.Release) error {
	for _, file := range []string{"manifest.json", "vmlinuz", "initramfs.img", "rootfs.squashfs"} {
		got, err := n.Get(ctx, "/stable/"+s.lab.Arch+"/"+file)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(filepath.Join(r.Folder, file))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s serves %s of %s, not the signed %s", n.Name(), file, ui.Bytes(int64(len(got))), ui.Bytes(int64(len(want))))
		}
	}
	return nil
}

// keep leaves what a job returned in the folder of the demo.
func (s *stage) keep(receipt, stdout, stderr []byte) error {
	for name, data := range map[string][]byte{"receipt.json": receipt, "stdout": stdout, "stderr": stderr} {
		if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// verified has the client's own program hold the receipt that was kept to the key
// of a node and, to show that it can say no, to that of another.
func (s *stage) verified(ctx context.Context, peer, other string) error {
	check := func(key string) error {
		out, err := exec.CommandContext(ctx, s.plasmd, "receipt", "verify", "--key", key,
			"--stdout", filepath.Join(s.dir, "stdout"), "--stderr", filepath.Join(s.dir, "stderr"),
			filepath.Join(s.dir, "receipt.json")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := check(peer); err != nil {
		return err
	}
	if check(other) == nil {
		return fmt.Errorf("the receipt passed for the key of %s as well", short(other))
	}
	return nil
}
