// Package dht is the node's part of a distributed hash table that is this
// project's alone (/phase/kad/1.0.0): there nodes find what fleets publish
// (package record) and who provides what. It never speaks to the public IPFS
// DHT, serves wherever others can reach the node, a LAN included, refuses what
// a fleet did not sign, and holds a bounded share of what is not its own. No
// search waits for its slowest peer, and none is without a deadline.
package dht

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	dssync "github.com/ipfs/go-datastore/sync"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	libp2precord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/network/bounds"
	"phase/appliance/network/dht/providers"
	"phase/appliance/network/dht/values"
	"phase/appliance/release/record"
)

const (
	// Protocol is what nodes of the DHT speak.
	Protocol = prefix + "/kad/1.0.0"
	prefix   = "/phase"

	// recordValidity is how long a record is held unless it is put again.
	recordValidity = 36 * time.Hour
	// provideValidity is the same for who provides what: the DHT has no delete,
	// so what is no longer true must go soon.
	provideValidity = 30 * time.Minute
	cleanup         = 5 * time.Minute
	// samePlace is how many peers of one IPv4 address, or one IPv6 /64, have a
	// place in the routing table: 100 ids of one host own no part of it.
	samePlace = 10
)

// Config is what a node wants of the DHT.
type Config struct {
	Host host.Host
	// Client asks and serves nobody: for a node that announces nothing.
	Client bool
	// Fleet whose records always have room here; "" for none.
	Fleet string
	// Now is the time that expiry is judged by; nil is time.Now.
	Now func() time.Time
}

// DHT is a node's part of the table. It is safe for concurrent use.
type DHT struct {
	config    Config
	table     *kad.IpfsDHT
	ask       *pb.ProtocolMessenger
	validator *validator
	values    *values.Values
	providers *providers.Providers
	locked    struct{ values, providers *dssync.MutexDatastore }
	behind    context.Context // of what goes on behind a search
	end       context.CancelFunc
	work      sync.WaitGroup

	mu   sync.Mutex
	want announced
	wake chan struct{}
}

// Open joins the DHT with the peers that the host is connected to, and with
// those that come. Announcing begins with Run.
func Open(c Config) (*DHT, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	id := string(c.Host.ID())
	d := &DHT{config: c, values: values.New(id, c.Fleet), providers: providers.New(id), wake: make(chan struct{}, 1), want: newAnnounced()}
	d.locked.values, d.locked.providers = dssync.MutexWrap(d.values), dssync.MutexWrap(d.providers)
	d.validator = newValidator(c.Now, d.good)
	d.behind, d.end = context.WithCancel(context.Background())
	mode := kad.ModeServer
	if c.Client {
		mode = kad.ModeClient
	}
	var err error
	d.table, err = kad.New(&inbound{Host: c.Host, streams: bounds.New[peer.ID](maxStreams, streamOfPeer), flows: newFlows()},
		kad.ProtocolPrefix(prefix), kad.Mode(mode),
		kad.Validator(libp2precord.NamespacedValidator{record.Namespace: d.validator}),
		kad.ValueDatastore(d.locked.values), kad.ProviderDatastore(d.locked.providers),
		kad.MaxRecordAge(recordValidity), kad.ValueGCInterval(time.Hour),
		kad.ProviderManagerOpts(records.ProvideValidity(provideValidity), records.ProviderAddrTTL(provideValidity),
			records.CleanupInterval(cleanup), records.Cache(noCache{})),
		kad.WithCustomMessageSender(newSender),
		kad.RoutingTableFilter(func(table any, p peer.ID) bool { return hasPlace(table.(*kad.IpfsDHT), p) }),
		kad.RoutingTableRefreshQueryTimeout(2*requestTime),
	)
	if err != nil {
		d.end()
		return nil, fmt.Errorf("joining the DHT: %w", err)
	}
	d.ask, err = pb.NewProtocolMessenger(d.table.MessageSender())
	if err != nil {
		return nil, fmt.Errorf("joining the DHT: %w", err)
	}
	return d, nil
}

// Close leaves the DHT. The host must be closed by its owner.
func (d *DHT) Close() error {
	d.end()
	err := d.table.Close()
	d.work.Wait()
	return err
}

// good is told of each valid record once: the artifacts of the own fleet's are
// provided by the nodes that matter to this one.
func (d *DHT) good(r record.Record) {
	slog.Debug("dht", "event", "record", "key", r.Key().String(), "version", r.Version(), "digest", r.Digest().String())
	if d.config.Fleet == "" || r.Key().Fleet != d.config.Fleet {
		return
	}
	d.mu.Lock()
	if best, ok := d.want.newest[r.Key()]; !ok || record.Compare(r, best) > 0 {
		d.want.newest[r.Key()] = r
	}
	var own []string
	for _, best := range d.want.newest {
		for _, a := range best.Artifacts() {
			own = append(own, string(cidOf(a.SHA256).Hash()))
		}
	}
	d.mu.Unlock()
	d.locked.providers.Lock()
	defer d.locked.providers.Unlock()
	d.providers.Prefer(own...)
}

// Size is how many peers are in the routing table.
func (d *DHT) Size() int { return d.table.RoutingTable().Size() }

// Stats is what a node holds for the DHT, and what it refused to.
type Stats struct {
	RoutingTable int // peers
	Records      int // of all fleets
	RecordBytes  int // of other fleets
	Providers    int // entries, a peer and what it provides
	Refused      map[refusal.Code]uint64
}

// Stats counts.
func (d *DHT) Stats() Stats {
	s := Stats{RoutingTable: d.Size(), Refused: d.validator.counts()}
	d.locked.values.RLock()
	s.Records, s.RecordBytes = d.values.Len(), d.values.Bytes()
	d.locked.values.RUnlock()
	d.locked.providers.RLock()
	s.Providers = d.providers.Len()
	d.locked.providers.RUnlock()
	return s
}

// Problem says in words that a node is connected and yet in no DHT; "" when
// that is not so.
func (d *DHT) Problem() string {
	if peers := len(d.config.Host.Network().Peers()); peers > 0 && d.Size() == 0 {
		return fmt.Sprintf("none of %d connected peers answers questions of the DHT (%s); they may be of another kind, or only ask", peers, Protocol)
	}
	return ""
}

// Bucket is the digest under which nodes announce that they are in a bucket of
// capabilities, by the bucket's name.
func Bucket(name string) names.Digest { return names.Sum([]byte(name)) }
