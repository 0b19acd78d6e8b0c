package benchnet

import (
	"crypto/sha256"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/peer"
)

// BenchmarkHere runs the job on this node, with no network: what it costs
// before it is sent anywhere.
func BenchmarkHere(b *testing.B) {
	n, offer := start(b, transports["tcp"]), hello(b)
	run := func() {
		place, err := n.runs.Enter("me")
		if err == nil {
			_, err = place.Execute(b.Context(), offer(), scheduler.Watch{})
			place.Leave()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	run()
	var all laps
	for b.Loop() {
		all.time(run)
	}
	all.report(b)
}

// BenchmarkJob runs jobs on another node one after the other, each from the
// offer to the verified receipt; the module was sent with the first.
func BenchmarkJob(b *testing.B) {
	each(b, func(b *testing.B, from, to *node) {
		offer := hello(b)
		run := func() {
			if _, err := from.client.Run(b.Context(), to.id.PeerID(), offer(), scheduler.Watch{}); err != nil {
				b.Fatal(err)
			}
		}
		run()
		var all laps
		for b.Loop() {
			all.time(run)
		}
		all.report(b)
	})
}

// atOnce is how many jobs are under way at once in BenchmarkJobs.
const atOnce = 8

// BenchmarkJobs runs jobs on another node, several at once over one connection.
func BenchmarkJobs(b *testing.B) {
	each(b, func(b *testing.B, from, to *node) {
		offer := hello(b)
		var left atomic.Int64
		left.Store(int64(b.N))
		b.ResetTimer()
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					if _, err := from.client.Run(b.Context(), to.id.PeerID(), offer(), scheduler.Watch{}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	})
}

// BenchmarkReceipt looks up the receipt of a finished run, over a new stream.
func BenchmarkReceipt(b *testing.B) {
	each(b, func(b *testing.B, from, to *node) {
		done, err := from.client.Run(b.Context(), to.id.PeerID(), hello(b)(), scheduler.Watch{})
		if err != nil {
			b.Fatal(err)
		}
		var all laps
		for b.Loop() {
			all.time(func() {
				if _, _, err := from.client.Lookup(b.Context(), to.id.PeerID(), done.RunID); err != nil {
					b.Fatal(err)
				}
			})
		}
		all.report(b)
	})
}

// BenchmarkCapabilities asks a node what it can do.
func BenchmarkCapabilities(b *testing.B) {
	each(b, func(b *testing.B, from, to *node) {
		var all laps
		for b.Loop() {
			all.time(func() {
				if _, err := from.client.Record(b.Context(), to.id.PeerID()); err != nil {
					b.Fatal(err)
				}
			})
		}
		all.report(b)
	})
}

// streamed is how many bytes a throughput is measured with.
const streamed = 64 << 20

// zeros is an input of that many bytes that is streamed to a job.
type zeros struct {
	left int
	hash hash.Hash
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	z.hash.Write(p[:n])
	return n, nil
}

func (z *zeros) Sum() (sum [sha256.Size]byte) {
	z.hash.Sum(sum[:0])
	return sum
}

// BenchmarkCat streams an input to a job that writes it out again, and the output
// back as it comes; both are hashed at both ends, for the receipt.
func BenchmarkCat(b *testing.B) {
	each(b, func(b *testing.B, from, to *node) {
		cat, output := module(b, "phase/tests/guests/cat"), int64(streamed)
		wanted := job.Default(cat)
		wanted.MemoryMB, wanted.OutputBytes = 64, &output
		spec, err := job.New(wanted)
		if err != nil {
			b.Fatal(err)
		}
		held := modulecache.NewModule(cat)
		b.SetBytes(streamed)
		for b.Loop() {
			o := scheduler.Offer{Spec: spec, Module: held, Nonce: scheduler.NewNonce(), Input: &zeros{streamed, sha256.New()}, Stdout: io.Discard}
			if _, err := from.client.Run(b.Context(), to.id.PeerID(), o, scheduler.Watch{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBare is libp2p alone in the same run: a stream that is opened, and a
// byte there and back on it.
func BenchmarkBare(b *testing.B) {
	each(b, func(b *testing.B, from, to *node) {
		to.Handle("/bench/echo", func(_ string, s peer.Stream) {
			_, _ = io.Copy(s, s)
			s.Close()
		})
		byteOf := make([]byte, 1)
		var all laps
		for b.Loop() {
			all.time(func() {
				s, err := from.Dial(b.Context(), to.id.PeerID(), "/bench/echo")
				if err == nil {
					_, err = s.Write(byteOf)
				}
				if err == nil {
					_, err = io.ReadFull(s, byteOf)
				}
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			})
		}
		all.report(b)
	})
}

// BenchmarkBareStream is libp2p alone in the same run: bytes one way.
func BenchmarkBareStream(b *testing.B) {
	each(b, func(b *testing.B, from, to *node) {
		to.Handle("/bench/sink", func(_ string, s peer.Stream) {
			_, _ = io.Copy(io.Discard, s)
			_, _ = s.Write([]byte{1})
			s.Close()
		})
		piece := make([]byte, 256<<10)
		b.SetBytes(streamed)
		for b.Loop() {
			s, err := from.Dial(b.Context(), to.id.PeerID(), "/bench/sink")
			for sent := 0; err == nil && sent < streamed; sent += len(piece) {
				_, err = s.Write(piece)
			}
			if err == nil {
				err = s.CloseWrite()
			}
			if err == nil {
				_, err = io.ReadFull(s, make([]byte, 1))
			}
			if err != nil {
				b.Fatal(err)
			}
			s.Close()
		}
	})
}
