package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"phase/appliance/daemon/api"
	"phase/qemu"
	"phase/tests/lab"
)

// Where the story of two networks takes place.
var (
	gateOne  = netip.MustParsePrefix("10.1.0.1/24")
	gateTwo  = netip.MustParsePrefix("10.2.0.1/24")
	atA      = netip.MustParsePrefix("10.1.0.2/24")
	atLaptop = netip.MustParsePrefix("10.1.0.9/24")
	atB      = netip.MustParsePrefix("10.2.0.2/24")
	atC      = netip.MustParsePrefix("10.2.0.3/24")
)

// two is the story of nodes on two networks that find each other and work for
// each other.
type two struct {
	*stage
	one, other    *qemu.Segment
	stub, next    lab.Release
	a, b, c       *lab.Node
	idA, idB, idC lab.Identity
	laptop        *lab.Laptop
}

func (d *two) story() []step {
	return []step{
		{"sign releases 1 and 2; a router joins two networks, and carries no multicast", d.assemble},
		{"A boots release 2 on network 1", d.bootA},
		{"B boots release 1 on network 2, told one address of A", d.bootB},
		{"B joins A's network of nodes over the hop", d.joinB},
		{"B finds release 2 by the DHT alone, fetches and verifies it", d.findB},
		{"B jumps into release 2 and serves it", d.jumpB},
		{"C boots release 2 on network 2, told of nobody", d.bootC},
		{"C finds B by DNS-SD", d.joinC},
		{"a laptop starts plasmd on network 1, told of nobody", d.startLaptop},
		{"the laptop finds A by DNS-SD", d.joinLaptop},
		{"the laptop has hello.wasm run by the node that fits best (--on auto)", d.jobAuto},
		{"the laptop sends hello.wasm to C by its peer id; neither was told of the other", d.jobC},
		{"who the laptop knows by now", d.peers},
		{"what it takes on C", d.figures},
	}
}

func playNet(ctx context.Context, s *stage) (err error) {
	d := &two{stage: s}
	if d.one, err = qemu.NewSegment(); err != nil {
		return err
	}
	defer d.one.Close()
	if d.other, err = qemu.NewSegment(); err != nil {
		return err
	}
	defer d.other.Close()
	router, err := qemu.NewRouter(d.one, gateOne, d.other, gateTwo)
	if err != nil {
		return err
	}
	defer router.Close()
	defer func() {
		if d.laptop != nil {
			_ = d.laptop.Close() // the story is over
		}
	}()
	return s.play(ctx, fmt.Sprintf("Phase on %s: three machines of %d MiB and a laptop on two networks, one routed hop between them, no server", s.lab.Arch, s.memory), d.story())
}

func (d *two) assemble(ctx context.Context) (detail string, err error) {
	if d.stub, err = d.lab.Release(ctx, stubVersion, lab.NoDisk); err != nil {
		return "", err
	}
	d.next, err = d.lab.Release(ctx, newVersion, lab.NoDisk)
	return fmt.Sprintf("%s and %s", gateOne.Masked(), gateTwo.Masked()), err
}

// bootOn has a machine boot a release with an address of its own, and other
// settings.
func (d *two) bootOn(ctx context.Context, name string, r lab.Release, at, gate netip.Prefix, segment *qemu.Segment, settings ...string) (*lab.Node, lab.Identity, string, error) {
	flashed, err := d.lab.Flashed(ctx, r, append(settings, fmt.Sprintf("phase.ip=%s,%s", at, gate.Addr()))...)
	if err != nil {
		return nil, lab.Identity{}, "", err
	}
	n, id, detail, err := d.up(ctx, name, flashed.Disk, r.Manifest.Version, segment)
	return n, id, fmt.Sprintf("%s at %s", detail, at.Addr()), err
}

func (d *two) bootA(ctx context.Context) (detail string, err error) {
	d.a, d.idA, detail, err = d.bootOn(ctx, "A", d.next, atA, gateOne, d.one)
	return detail, err
}

func (d *two) bootB(ctx context.Context) (detail string, err error) {
	known := fmt.Sprintf("phase.bootstrap=/ip4/%s/udp/7420/quic-v1/p2p/%s", atA.Addr(), d.idA.Peer)
	d.b, d.idB, detail, err = d.bootOn(ctx, "B", d.stub, atB, gateTwo, d.other, known, "phase.accept=all")
	return detail, err
}

func (d *two) bootC(ctx context.Context) (detail string, err error) {
	d.c, d.idC, detail, err = d.bootOn(ctx, "C", d.next, atC, gateTwo, d.other, "phase.accept=all")
	return detail, err
}

// joins waits until a node says that it is connected to a peer.
func joins(ctx context.Context, n *lab.Node, peer string) (string, error) {
	groups, e, err := n.Line(ctx, lab.Begin, lab.LineConnected+peer+` path=(\S+) address=(\S+)`)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %s by %s, %s after power on", short(peer), groups[0], groups[1], took(e.After)), nil
}

func (d *two) joinB(ctx context.Context) (string, error) { return joins(ctx, d.b, d.idA.Peer) }
func (d *two) joinC(ctx context.Context) (string, error) { return joins(ctx, d.c, d.idB.Peer) }

func (d *two) findB(ctx context.Context) (string, error) {
	found, _, err := d.b.Line(ctx, lab.Begin, fmt.Sprintf(`update: found version %d .*at (\S+)`, newVersion))
	if err != nil {
		return "", err
	}
	if at := found[0]; !strings.Contains(at, atA.Addr().String()) && !strings.Contains(at, d.idA.Peer) {
		return "", fmt.Errorf("node B found it at %s, which is not A", at)
	}
	fetched, _, err := d.b.Line(ctx, lab.Begin, lab.LineFetched)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("at %s in %s", found[0], fetched[1]), nil
}

func (d *two) jumpB(ctx context.Context) (detail string, err error) {
	_, detail, err = d.jumps(ctx, d.b, d.next)
	return detail, err
}

func (d *two) startLaptop(ctx context.Context) (detail string, err error) {
	d.laptop, err = lab.StartLaptop(ctx, d.one, d.plasmd, d.dir, atLaptop, gateOne.Addr())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s at %s", short(d.laptop.Peer), atLaptop.Addr()), nil
}

// known asks the laptop who it is connected to.
func (d *two) known(ctx context.Context) (p api.Peers, err error) {
	out, err := d.laptop.Run(ctx, nil, "peers", "--json")
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(out, &p)
}

func (d *two) joinLaptop(ctx context.Context) (string, error) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		p, err := d.known(ctx)
		if err != nil {
			return "", err
		}
		for _, peer := range p.Peers {
			if peer.Peer == d.idA.Peer {
				return fmt.Sprintf("%s, %s by %s", short(peer.Peer), peer.Path, peer.Address), nil
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return "", fmt.Errorf("the laptop does not find A: %w", ctx.Err())
		}
	}
}

// job has the laptop send hello.wasm, and keeps what came back. It returns who ran
// it, which is one of those that may.
func (d *two) job(ctx context.Context, on string, may ...string) (worker, detail string, err error) {
	const question = "esahP olleh"
	began := time.Now()
	out, err := d.laptop.Run(ctx, strings.NewReader(question), "execute-job", "--json", "--timeout", "4m", "--on", on, d.wasm)
	if err != nil {
		return "", "", err
	}
	spent := time.Since(began)
	var a lab.Answer
	if err := json.Unmarshal(out, &a); err != nil {
		return "", "", err
	}
	answer := string(bytes.TrimSpace(a.Stdout))
	switch {
	case a.ExitCode != 0 || answer != "hello Phase":
		return "", "", fmt.Errorf("it returned %q and exit code %d", a.Stdout, a.ExitCode)
	case !slices.Contains(may, a.Worker):
		return "", "", fmt.Errorf("%q ran it", a.Worker)
	}
	return a.Worker, fmt.Sprintf("%q in, %q out, in %s", question, answer, took(spent)), d.keep(a.Receipt, a.Stdout, a.Stderr)
}

func (d *two) jobAuto(ctx context.Context) (string, error) {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	worker, detail, err := d.job(ctx, "auto", d.idB.Peer, d.idC.Peer)
	// What C can do may not have come round yet: it has joined a moment ago.
	for err != nil && strings.Contains(err.Error(), "NoNode: ") && ctx.Err() == nil {
		select {
		case <-again.C:
		case <-ctx.Done():
		}
		worker, detail, err = d.job(ctx, "auto", d.idB.Peer, d.idC.Peer)
	}
	if err != nil {
		return "", err
	}
	name := map[string]string{d.idB.Peer: "B", d.idC.Peer: "C"}[worker]
	return fmt.Sprintf("%s did it; %s; receipt signed by %s", name, detail, short(worker)), d.verified(ctx, worker, d.idA.Peer)
}

func (d *two) jobC(ctx context.Context) (string, error) {
	_, detail, err := d.job(ctx, d.idC.Peer, d.idC.Peer)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; receipt signed by %s, refused for B's key", detail, short(d.idC.Peer)), d.verified(ctx, d.idC.Peer, d.idB.Peer)
}

func (d *two) peers(ctx context.Context) (string, error) {
	p, err := d.known(ctx)
	if err != nil {
		return "", err
	}
	name := map[string]string{d.idA.Peer: "A", d.idB.Peer: "B", d.idC.Peer: "C"}
	var all []string
	for _, peer := range p.Peers {
		all = append(all, fmt.Sprintf("%s %s by %s", name[peer.Peer], peer.Path, peer.Address))
	}
	slices.Sort(all)
	return strings.Join(all, "; "), nil
}

func (d *two) figures(ctx context.Context) (string, error) {
	resident, err := d.c.Metric(ctx, "process_resident_memory_bytes")
	return fmt.Sprintf("plasmd has %.1f MB in memory", resident/1e6), err
}
