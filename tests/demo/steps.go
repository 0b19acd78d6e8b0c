package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
)

func (d *demo) assemble(ctx context.Context) (string, error) {
	others, err := d.lab.WithOtherKeys()
	if err != nil {
		return "", err
	}
	for _, r := range []struct {
		lab     *lab.Lab
		version uint64
		into    *lab.Release
	}{{d.lab, stubVersion, &d.stub}, {d.lab, newVersion, &d.next}, {others, forgedVersion, &d.forged}} {
		if *r.into, err = r.lab.Release(ctx, r.version); err != nil {
			return "", err
		}
	}
	var size int64
	for _, a := range d.next.Manifest.Artifacts {
		size += a.Size
	}
	return ui.Bytes(size) + " to boot from", nil
}

// up powers a machine on and waits until it is a whole node.
func (d *demo) up(ctx context.Context, name, disk string, version uint64) (*lab.Node, string, error) {
	n, err := d.boot(name, disk)
	if err != nil {
		return nil, "", err
	}
	id, err := n.Up(ctx, lab.Begin, version)
	if err != nil {
		return n, "", err
	}
	serving, err := n.Console.Wait(ctx, lab.LineServing)
	if err != nil {
		return n, "", err
	}
	return n, fmt.Sprintf("%s, answering %s after power on", short(id.Peer), took(serving.After)), nil
}

func (d *demo) bootA(ctx context.Context) (detail string, err error) {
	d.a, detail, err = d.up(ctx, "A", d.next.Disk, newVersion)
	return detail, err
}

func (d *demo) bootForger(ctx context.Context) (detail string, err error) {
	d.forger, _, err = d.up(ctx, "forger", d.forged.Disk, forgedVersion)
	if err != nil {
		return "", err
	}
	return "it calls itself version 3; its own keys say so", nil
}

func (d *demo) bootB(ctx context.Context) (detail string, err error) {
	d.b, detail, err = d.up(ctx, "B", d.stub.Disk, stubVersion)
	return detail, err
}

func (d *demo) bootC(ctx context.Context) (detail string, err error) {
	d.c, detail, err = d.up(ctx, "C", d.stub.Disk, stubVersion)
	return detail, err
}

// refuses waits for the node to say that the forger's offer is refused, on
// its console and in /status.
func (d *demo) refuses(ctx context.Context, n *lab.Node) (string, error) {
	for after := lab.Begin; ; {
		groups, e, err := n.Line(ctx, after, lab.LineRefused)
		if err != nil {
			return "", err
		}
		if isAt(groups[0], d.forger) {
			return fmt.Sprintf("%s: %s", groups[2], groups[1]), nil
		}
		after = e
	}
}

// fetches waits until the node has release 2, from the provider named.
func (d *demo) fetches(ctx context.Context, n, provider *lab.Node) (string, error) {
	for after := lab.Begin; ; {
		groups, e, err := n.Line(ctx, after, fmt.Sprintf(`update: found version %d \(.*\) at (\S+)`, newVersion))
		if err != nil {
			return "", err
		}
		if isAt(groups[0], provider) {
			break
		}
		after = e
	}
	groups, _, err := n.Line(ctx, lab.Begin, lab.LineFetched)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("from %s in %s", provider.Name(), groups[1]), nil
}

// jumps waits until the node is whole again, in release 2, and checks over
// HTTP that it serves exactly the bytes that were signed.
func (d *demo) jumps(ctx context.Context, n *lab.Node) (lab.Identity, string, error) {
	_, jump, err := n.Line(ctx, lab.Begin, lab.LineJump)
	if err != nil {
		return lab.Identity{}, "", err
	}
	id, err := n.Up(ctx, jump, newVersion)
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
	if err := d.serves(ctx, n); err != nil {
		return id, "", err
	}
	return id, fmt.Sprintf("jump to serving again %s, the signed bytes", took(serving.Host.Sub(jump.Host))), nil
}

// serves compares everything a node serves with what was signed.
func (d *demo) serves(ctx context.Context, n *lab.Node) error {
	for _, file := range []string{"manifest.json", "vmlinuz", "initramfs.img", "rootfs.squashfs"} {
		got, err := n.Get(ctx, "/stable/"+d.lab.Arch+"/"+file)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(filepath.Join(d.next.Folder, file))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s serves %s of %s, not the signed %s", n.Name(), file, ui.Bytes(int64(len(got))), ui.Bytes(int64(len(want))))
		}
	}
	return nil
}

func (d *demo) offA(ctx context.Context) (string, error) {
	if err := d.a.PowerButton(ctx); err != nil {
		return "", err
	}
	if _, err := d.a.Console.WaitKind(ctx, lab.Begin, qemu.PowerOff); err != nil {
		return "", err
	}
	return "power button, clean power-off; B is the provider now", nil
}

func (d *demo) jumpC(ctx context.Context) (detail string, err error) {
	d.idC, detail, err = d.jumps(ctx, d.c)
	return detail, err
}

// job sends hello.wasm to C over HTTP with the token from C's console.
func (d *demo) job(ctx context.Context) (string, error) {
	module, err := os.ReadFile(d.wasm)
	if err != nil {
		return "", err
	}
	const question = "esahP olleh"
	answer, err := d.c.Job(ctx, d.idC.Token, module, question)
	if err != nil {
		return "", err
	}
	if answer.ExitCode != 0 || strings.TrimSpace(string(answer.Stdout)) != "hello Phase" {
		return "", fmt.Errorf("it returned %q and exit code %d", answer.Stdout, answer.ExitCode)
	}
	for name, data := range map[string][]byte{"receipt.json": answer.Receipt, "stdout": answer.Stdout, "stderr": answer.Stderr} {
		if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%q in, %q out", question, strings.TrimSpace(string(answer.Stdout))), nil
}

// verify has the client's own program check the receipt, against C's key and,
// to show that it can say no, against B's.
func (d *demo) verify(ctx context.Context) (string, error) {
	check := func(key string) error {
		out, err := exec.CommandContext(ctx, d.plasmd, "receipt", "verify", "--key", key,
			"--stdout", filepath.Join(d.dir, "stdout"), "--stderr", filepath.Join(d.dir, "stderr"),
			filepath.Join(d.dir, "receipt.json")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := check(d.idC.Peer); err != nil {
		return "", err
	}
	groups, _, err := d.b.Line(ctx, lab.Begin, lab.LinePeer)
	if err != nil {
		return "", err
	}
	if check(groups[0]) == nil {
		return "", fmt.Errorf("the receipt passed for B's key as well")
	}
	return "signed by " + short(d.idC.Peer) + ", refused for B's key", nil
}

// isAt says whether a URL is one of the node's.
func isAt(url string, n *lab.Node) bool {
	for _, a := range n.Port(0).Addrs() {
		if strings.Contains(url, a.WithZone("").String()) {
			return true
		}
	}
	return strings.Contains(url, n.Addr().String())
}

// short is the readable end of a peer id.
func short(peer string) string { return "peer …" + peer[max(0, len(peer)-8):] }
