// Package powercut cuts the power of whole machines. A node with its disk on a
// server of package nbd is on its way to a newer release; at a point drawn from a
// seed the power goes, and of what the disk was not asked to flush some is lost,
// torn or reordered. Then the node is switched on again from what is left, and
// must come up by itself, as the same node, on something good.
package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"phase/qemu"
	"phase/tests/lab"
	"phase/tests/nbd"
)

// The releases: the stub is on the stick, a provider has the next, and after the
// second cut the last.
const (
	stubVersion = 10
	nextVersion = 20
	lastVersion = 30
)

// diskBytes is the size of the stick, larger than the image: the very first boot
// has a file system to grow.
const diskBytes = 512 << 20

// Campaign is a number of cuts.
type Campaign struct {
	Lab  *lab.Lab
	Logs string // the folder for consoles
	Log  io.Writer
	// Nodes have the seeds Seed, Seed+1 and so on: each can be replayed alone. The
	// power of each is cut CutsPerNode times.
	Nodes int
	Seed  uint64
	// AtOnce is the number of machines beside each other.
	AtOnce int
	// Lie makes the disks forget flushes: a campaign that is then still green
	// sees nothing.
	Lie bool

	stick   string
	newer   []lab.Release // next, last
	setting string        // names the provider, on every segment by the same address
	settled *nbd.Disk
	peer    string // who the node on settled is
	// slow is how much longer things take here than on a quiet machine, 4 at most.
	slow float64
}

// Run lives all lives and returns what became of the nodes, by seed. The error is that
// of a campaign that could not be run; a node that breaks is no error.
func (c *Campaign) Run(ctx context.Context) ([]Result, error) {
	image, err := c.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	var (
		mu      sync.Mutex
		results = make([]Result, c.Nodes)
		taken   int
		errs    []error
		work    sync.WaitGroup
	)
	take := func(err error) (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, err)
		}
		taken++
		return taken - 1, taken <= c.Nodes && len(errs) == 0 && ctx.Err() == nil
	}
	for range max(1, c.AtOnce) {
		work.Go(func() {
			var err error
			for {
				i, more := take(err)
				if !more {
					return
				}
				if results[i], err = c.node(ctx, newPlan(c.Seed+uint64(i)), image); err == nil {
					mu.Lock()
					fmt.Fprintln(c.Log, results[i])
					mu.Unlock()
				}
			}
		})
	}
	work.Wait()
	return results, errors.Join(append(errs, ctx.Err())...)
}

// prepare makes the releases, and a disk of a node that has been up once.
func (c *Campaign) prepare(ctx context.Context) (image *os.File, err error) {
	if err := c.release(ctx); err != nil {
		return nil, err
	}
	place, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	defer place.close()
	c.setting = place.provider.Setting
	stub, err := c.Lab.Release(ctx, stubVersion, lab.Conf(c.setting))
	if err != nil {
		return nil, err
	}
	if c.stick, err = c.Lab.Stick(ctx, stub, diskBytes); err != nil {
		return nil, err
	}
	if image, err = os.Open(c.stick); err != nil {
		return nil, err
	}
	if err = c.settle(ctx, place, image); err != nil {
		image.Close()
		return nil, fmt.Errorf("booting the stub for the first time: %w", err)
	}
	return image, nil
}

// release makes the newer releases. The last has a rootfs of its own, as a real one
// has: what two releases share is not fetched again.
func (c *Campaign) release(ctx context.Context) error {
	next, err := c.Lab.Release(ctx, nextVersion, lab.NoDisk)
	if err != nil {
		return err
	}
	rootfs, err := os.ReadFile(next.File("rootfs"))
	if err != nil {
		return err
	}
	// A squashfs knows its length: what follows is not read.
	last, err := c.Lab.Altered(next, lastVersion, "rootfs", append(rootfs, bytes.Repeat([]byte{lastVersion}, 4096)...))
	c.newer = []lab.Release{next, last}
	return err
}

// usual is about how long a quiet machine that emulates takes from power on until
// it has checked what it runs.
const usual = 12 * time.Second

// settle boots the stub where there is nobody else, and switches it off.
func (c *Campaign) settle(ctx context.Context, p *place, image *os.File) error {
	disk, err := nbd.NewDisk(image, diskBytes)
	if err != nil {
		return err
	}
	if err := p.offer(ctx, c, 0); err != nil {
		return err
	}
	m, err := c.machine(ctx, p, disk, "settled")
	if err != nil {
		return err
	}
	defer m.close()
	began := time.Now()
	up, err := m.up(ctx, lab.Begin)
	if err != nil {
		return err
	}
	c.slow = min(max(1, time.Since(began).Seconds()/usual.Seconds()), 4)
	if _, _, err := m.Line(ctx, lab.Begin, `the persistent partition has grown`); err != nil {
		return err
	}
	if err := m.PowerButton(ctx); err != nil {
		return err
	}
	if err := m.Wait(ctx); err != nil {
		return err
	}
	c.settled, c.peer = disk.Clone(), up.Peer
	return nil
}

// place is a segment with a provider on it, for one machine at a time.
type place struct {
	segment  *qemu.Segment
	provider *lab.Provider
}

func (c *Campaign) place(ctx context.Context) (*place, error) {
	s, err := qemu.NewSegment()
	if err != nil {
		return nil, err
	}
	p, err := lab.Provide(ctx, s, c.newer[0])
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if c.setting != "" && p.Setting != c.setting {
		return nil, errors.Join(fmt.Errorf("the provider is %s, on the stick it is %s", p.Setting, c.setting), p.Close(), s.Close())
	}
	return &place{s, p}, nil
}

// offer lets the provider have releases up to a version; with 0 it is gone from
// the network.
func (p *place) offer(ctx context.Context, c *Campaign, version uint64) error {
	if version == 0 {
		port := p.provider.Port()
		p.segment.SetFilter(func(from, to *qemu.Port, _ []byte) bool { return from == port || to == port })
		return nil
	}
	p.segment.SetFilter(nil)
	for _, r := range c.newer[1:] {
		if r.Manifest.Version == version {
			return p.provider.Add(ctx, r)
		}
	}
	return nil
}

func (p *place) close() {
	_ = p.provider.Close() // nothing of it is left to lose
	_ = p.segment.Close()
}

// machine is a node and the server of its disk.
type machine struct {
	*lab.Node
	disk   *nbd.Disk
	server *nbd.Server
}

func (c *Campaign) machine(ctx context.Context, p *place, disk *nbd.Disk, name string) (*machine, error) {
	server, err := nbd.Serve(disk)
	if err != nil {
		return nil, err
	}
	n, err := lab.Start(ctx, c.Logs, qemu.Config{
		Name: name, Arch: c.Lab.Arch, Disks: []qemu.Disk{{NBD: server.Socket()}}, NICs: []qemu.NIC{{Segment: p.segment}},
	})
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &machine{n, disk, server}, nil
}

func (m *machine) close() {
	_ = m.Close() // it is off by now, or dies here
	_ = m.server.Close()
}

// folder is where the file systems are that cuts have left. Those of nodes that
// broke stay there.
func (c *Campaign) folder() (string, error) {
	dir := filepath.Join(c.Logs, "left")
	return dir, os.MkdirAll(dir, 0o755)
}

// forget removes the file systems that the cuts of a node have left.
func (c *Campaign) forget(seed uint64) error {
	files, err := filepath.Glob(filepath.Join(c.Logs, "left", fmt.Sprintf("perm-%d-*", seed)))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}
