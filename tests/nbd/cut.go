package nbd

import (
	"fmt"
	"math/rand/v2"
)

// PowerOn switches the disk on: a new connection is answered.
func (d *Disk) PowerOn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.power++
	d.on, d.countup = true, 0
	d.frozen, d.gone = make(chan struct{}), make(chan struct{})
}

// Freeze stops answering, as a disk whose power is cut: connections stay open and
// get no answer. Cut and PowerOn follow.
func (d *Disk) Freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freeze()
}

func (d *Disk) freeze() {
	if d.on {
		d.on = false
		close(d.frozen)
	}
}

// FreezeAfter freezes the disk once it has carried out so many requests more
// that change or flush it; the last of them gets no answer. 0 takes that back.
func (d *Disk) FreezeAfter(changes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.countup = max(0, changes)
}

// Frozen is closed when the disk does not answer any more.
func (d *Disk) Frozen() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen
}

// Vanish is what a stick does that is pulled out: connections are closed, and
// there are no new ones before PowerOn. It loses nothing by itself: Cut does.
func (d *Disk) Vanish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freeze()
	select {
	case <-d.gone:
	default:
		close(d.gone)
	}
}

// Loss says what a power cut did to the writes that were not flushed.
type Loss struct{ Pending, Dropped, Torn, Kept int }

func (l Loss) String() string {
	return fmt.Sprintf("%d writes not flushed: %d lost, %d torn, %d kept", l.Pending, l.Dropped, l.Torn, l.Kept)
}

// How much of what was not flushed a power cut leaves, of 1: at times nothing, as
// a cache that is lost whole, at times all.
var keeps = []float64{0, 0.1, 0.5, 0.9, 1}

// Cut makes of the disk what a power cut leaves, drawn from r: all that was
// flushed, and of the writes since then some, in any order, and some in part, by
// sectors. The disk is off until PowerOn.
func (d *Disk) Cut(r *rand.Rand) (Loss, error) {
	return d.cut(r, keeps[r.IntN(len(keeps))], 0.5*r.Float64())
}

// cut keeps a part of the writes, of 1, and of these tears a part.
func (d *Disk) cut(r *rand.Rand, keep, tear float64) (Loss, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freeze()
	loss := Loss{Pending: len(d.pending)}
	pending := d.pending
	d.cached, d.pending = blocks{}, nil
	for _, i := range r.Perm(len(pending)) {
		c := pending[i]
		if r.Float64() >= keep {
			loss.Dropped++
			continue
		}
		parts := []change{c}
		if c.length > Sector && r.Float64() < tear {
			loss.Torn++
			parts = torn(c, r)
		} else {
			loss.Kept++
		}
		for _, p := range parts {
			if err := d.apply(p, d.durable, d.durable); err != nil {
				return loss, err
			}
		}
	}
	return loss, nil
}

// LoseAll is a Cut after which nothing is left of what was not flushed.
func (d *Disk) LoseAll() error {
	_, err := d.cut(rand.New(rand.NewPCG(0, 0)), 0, 0) // nothing is drawn
	return err
}

// torn is what is written of a change that the power cut met: its beginning, or
// any of its sectors.
func torn(c change, r *rand.Rand) (parts []change) {
	sectors := c.length / Sector
	if r.IntN(2) == 0 {
		return []change{c.part(0, Sector*(1+r.Int64N(sectors-1)))}
	}
	for s := range sectors {
		if r.IntN(2) == 0 {
			parts = append(parts, c.part(s*Sector, (s+1)*Sector))
		}
	}
	return parts
}
