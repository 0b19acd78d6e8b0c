package scheduler_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// A requester takes a place, sends a job, and gets a receipt that the node has
// signed and kept.
func ExampleScheduler() {
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		panic(err)
	}
	kept, err := history.Open("", history.Limits{Runs: 100, Bytes: 1 << 20, Nonces: 100}) // in memory
	if err != nil {
		panic(err)
	}
	defer kept.Close()
	node := scheduler.New(scheduler.NewRunner(id), kept, scheduler.Limits{
		Cores: 1, MemoryMB: 512, Queue: 10, PerRequester: 10, TimeoutSec: 3600, OutputBytes: 1 << 20, HeldBytes: 1 << 20,
	}, time.Now)

	place, err := node.Enter("the owner")
	if err != nil {
		panic(err)
	}
	defer place.Leave()
	module := modulecache.NewModule([]byte("\x00asm\x01\x00\x00\x00"))
	wanted := job.Default(nil)
	output := int64(1000)
	wanted.ModuleHash, wanted.MemoryMB, wanted.TimeoutSeconds, wanted.OutputBytes = module.Digest().String(), 1, 600, &output
	spec, err := job.New(wanted)
	if err != nil {
		panic(err)
	}
	offer := scheduler.Offer{Spec: spec, Module: module, Nonce: scheduler.NewNonce()}
	done, err := place.Execute(context.Background(), offer, scheduler.Watch{})
	if err != nil {
		panic(err)
	}
	fmt.Println(done.Outcome, done.ExitCode, done.Verify(offer, receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}))
	// Output: exited 0 <nil>
}
