package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"phase/appliance/base/ui"
	"phase/qemu"
	"phase/tests/lab"
)

func (d *chain) assemble(ctx context.Context) (string, error) {
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

func (d *chain) bootA(ctx context.Context) (detail string, err error) {
	d.a, _, detail, err = d.up(ctx, "A", d.next.Disk, newVersion, d.segment)
	return detail, err
}

func (d *chain) bootForger(ctx context.Context) (detail string, err error) {
	d.forger, _, _, err = d.up(ctx, "forger", d.forged.Disk, forgedVersion, d.segment)
	if err != nil {
		return "", err
	}
	return "it calls itself version 3; its own keys say so", nil
}

func (d *chain) bootB(ctx context.Context) (detail string, err error) {
	d.b, _, detail, err = d.up(ctx, "B", d.stub.Disk, stubVersion, d.segment)
	return detail, err
}

func (d *chain) bootC(ctx context.Context) (detail string, err error) {
	d.c, _, detail, err = d.up(ctx, "C", d.stub.Disk, stubVersion, d.segment)
	return detail, err
}

// refuses waits for the node to say that the forger's offer is refused, on
// its console and in /status.
func (d *chain) refuses(ctx context.Context, n *lab.Node) (string, error) {
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
func (d *chain) fetches(ctx context.Context, n, provider *lab.Node) (string, error) {
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

func (d *chain) offA(ctx context.Context) (string, error) {
	if err := d.a.PowerButton(ctx); err != nil {
		return "", err
	}
	if _, err := d.a.Console.WaitKind(ctx, lab.Begin, qemu.PowerOff); err != nil {
		return "", err
	}
	return "power button, clean power-off; B is the provider now", nil
}

func (d *chain) jumpC(ctx context.Context) (detail string, err error) {
	d.idC, detail, err = d.jumps(ctx, d.c, d.next)
	return detail, err
}

// job sends hello.wasm to C over HTTP with the token from C's console.
func (d *chain) job(ctx context.Context) (string, error) {
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
	if err := d.keep(answer.Receipt, answer.Stdout, answer.Stderr); err != nil {
		return "", err
	}
	return fmt.Sprintf("%q in, %q out", question, strings.TrimSpace(string(answer.Stdout))), nil
}

// verify holds the receipt to C's key and, to show that it can be refused, to B's.
func (d *chain) verify(ctx context.Context) (string, error) {
	groups, _, err := d.b.Line(ctx, lab.Begin, lab.LinePeer)
	if err != nil {
		return "", err
	}
	if err := d.verified(ctx, d.idC.Peer, groups[0]); err != nil {
		return "", err
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
