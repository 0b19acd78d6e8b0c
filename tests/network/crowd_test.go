package network

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	libp2precord "github.com/libp2p/go-libp2p-record"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-msgio/pbio"

	"phase/appliance/base/identity"
	"phase/appliance/compute/remote"
	"phase/appliance/network/dht"
	"phase/appliance/network/frame"
	"phase/appliance/network/peer"
	"phase/appliance/network/releases"
	"phase/appliance/release/record"
	"phase/tests/storetest"
)

// crowdArgs say how large a crowd is, and whom it is after.
type crowdArgs struct {
	Victim         string
	Sybils, Fleets int
}

// crowdSays is what came of it.
type crowdSays struct {
	Connected   int `json:"connected"` // ids
	Refused     int `json:"refused"`
	Open        int `json:"open"`  // streams that say nothing
	Reset       int `json:"reset"` // of those that were opened
	Accepted    int `json:"accepted"`
	Offers      int `json:"offers"`
	Taken       int `json:"taken"` // records of fleets made for it
	Forged      int `json:"forged"`
	ForgedTaken int `json:"forged_taken"`
}

// crowd is many ids of one host.
type crowd struct {
	args crowdArgs
	to   libpeer.AddrInfo

	mu   sync.Mutex
	says crowdSays
	ids  []*peer.Node
}

func (c *crowd) count(what *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*what++
}

func crowdRole(ctx context.Context, args []byte, say func(any)) error {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	c := &crowd{}
	err := json.Unmarshal(args, &c.args)
	if err == nil {
		c.to, err = peer.ParseAddress(c.args.Victim)
	}
	if err != nil {
		return err
	}
	attack, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	eight(c.args.Sybils, func(int) { c.join(attack) })
	made := make([]record.Record, c.args.Fleets)
	for i := range made {
		s := storetest.NewSigner(storetest.Example{})
		r := s.Release(storetest.Example{}, "stable", "x86_64", 1, map[string]int{"kernel": 10, "initramfs": 11, "rootfs": 12})
		if made[i], err = record.Make(s.Chain, r.Envelope(), time.Now()); err != nil {
			return err
		}
	}
	eight(len(c.ids), func(i int) {
		n := c.ids[i]
		c.silent(attack, n)
		c.offers(attack, n)
		for at := i; at < len(made); at += len(c.ids) {
			c.put(attack, n, made[at], at%4 == 0)
		}
	})
	c.mu.Lock()
	says := c.says
	c.mu.Unlock()
	say(says)
	<-ctx.Done() // its ids stay
	return nil
}

// eight does something so many times, eight at once.
func eight(times int, do func(n int)) {
	next := make(chan int)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for n := range next {
				do(n)
			}
		})
	}
	for n := range times {
		next <- n
	}
	close(next)
	work.Wait()
}

// join has one more id connect, as a node that serves the DHT.
func (c *crowd) join(ctx context.Context) {
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		return
	}
	n, err := peer.Open(peer.Config{Identity: id})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	d, err := dht.Open(dht.Config{Host: n.Host()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	// A connection that is refused once it is there looks well for a moment.
	if err = n.Connect(ctx, c.to); err == nil {
		var s peer.Stream
		if s, err = n.Dial(ctx, c.to.ID.String(), dht.Protocol); err == nil {
			_ = s.Reset()
		}
	}
	if err != nil {
		c.count(&c.says.Refused)
		_ = d.Close()
		n.Close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.says.Connected++
	c.ids = append(c.ids, n)
}

// silent opens streams that ask half a question, and some that ask all of it and
// never read. They stay open.
func (c *crowd) silent(ctx context.Context, n *peer.Node) {
	for i := range 40 {
		name := []string{dht.Protocol, remote.JobProtocol, remote.NodeProtocol, releases.ManifestProtocol, releases.HTTPProtocol}[i%5]
		s, err := n.Dial(ctx, c.to.ID.String(), name)
		if err == nil {
			text := []byte{0}
			if name == releases.HTTPProtocol {
				text = []byte("GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
			}
			_, err = s.Write(text)
		}
		if err != nil {
			c.count(&c.says.Reset)
			continue
		}
		c.count(&c.says.Open)
		go func() {
			if name == releases.HTTPProtocol {
				return
			}
			if _, err := s.Read(make([]byte, 1)); err != nil {
				c.count(&c.says.Reset)
			}
		}()
	}
}

// offers offers jobs that the victim does not take.
func (c *crowd) offers(ctx context.Context, n *peer.Node) {
	for range 50 {
		s, err := n.Dial(ctx, c.to.ID.String(), remote.JobProtocol)
		if err != nil {
			c.count(&c.says.Reset)
			continue
		}
		c.count(&c.says.Offers)
		_ = s.SetDeadline(time.Now().Add(5 * time.Second))
		f := frame.New(s, 5*time.Second)
		if f.Send(map[string]any{"type": "offer"}, nil) == nil {
			var answer anyFrame
			if f.Next(&answer, 5*time.Second) == nil && answer.Type != "rejected" {
				c.count(&c.says.Accepted)
			}
		}
		_ = s.Reset()
	}
}

// anyFrame is a frame of which only the type is of interest.
type anyFrame struct {
	Type string `json:"type"`
}

// Raw is none.
func (anyFrame) Raw() int64 { return 0 }

// put has the victim keep a record, or one under a key that is not its own.
func (c *crowd) put(ctx context.Context, n *peer.Node, r record.Record, forge bool) {
	s, err := n.Dial(ctx, c.to.ID.String(), dht.Protocol)
	if err != nil {
		c.count(&c.says.Reset)
		return
	}
	defer s.Reset()
	_ = s.SetDeadline(time.Now().Add(5 * time.Second))
	key := r.Key()
	if forge {
		c.count(&c.says.Forged)
		key.Channel = "nightly"
	}
	err = c.send(s, key.String(), r.Value())
	switch {
	case err == nil && forge:
		c.count(&c.says.ForgedTaken)
	case err == nil:
		c.count(&c.says.Taken)
	}
}

func (c *crowd) send(s peer.Stream, key string, value []byte) error {
	m := pb.NewMessage(pb.Message_PUT_VALUE, []byte(key), 0)
	m.Record = libp2precord.MakePutRecord(key, value)
	if err := pbio.NewDelimitedWriter(s).WriteMsg(m); err != nil {
		return err
	}
	return pbio.NewDelimitedReader(s, 1<<20).ReadMsg(new(pb.Message))
}
