package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/tests/await"
)

// least has a page of memory and returns at once.
const least = "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" + "\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b"

// clients is how many send jobs, each the next when it has the receipt.
const clients = 2

// jobs starts a daemon and returns how many jobs a second it runs when each needs
// a fresh process, which its limit of memory makes it.
func jobs(ctx context.Context, phase string, count int) (float64, error) {
	dir, err := os.MkdirTemp("", "benchstart-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	daemon := exec.CommandContext(ctx, phase, "plasmd", "start", "--network", "private", "--state", dir, "--data", filepath.Join(dir, "data"), "--socket", socket)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	daemon.Stderr = log
	if err := daemon.Start(); err != nil {
		return 0, err
	}
	rate, err := send(ctx, api.NewClient(socket), count)
	if end := errors.Join(daemon.Process.Signal(syscall.SIGTERM), daemon.Wait()); err == nil {
		err = end
	}
	if err != nil {
		said, _ := os.ReadFile(log.Name()) // for people
		return 0, fmt.Errorf("%w\nthe daemon said: %s", err, said)
	}
	return rate, nil
}

func send(ctx context.Context, client *api.Client, count int) (float64, error) {
	if err := await.Until(ctx, func() bool { return client.Reach(ctx) == nil }); err != nil {
		return 0, err
	}
	module := modulecache.NewModule([]byte(least))
	one := func(memoryMB int) error {
		j := job.Default([]byte(least))
		j.MemoryMB = memoryMB
		spec, err := job.New(j)
		if err != nil {
			return err
		}
		_, err = client.Execute(ctx, scheduler.Offer{Spec: spec, Module: module, Nonce: scheduler.NewNonce()})
		return err
	}
	if err := one(1); err != nil { // it is compiled now
		return 0, err
	}
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, clients)
	begin := time.Now()
	for i := range clients {
		all.Go(func() {
			for n := next.Add(1); n <= int64(count) && errs[i] == nil; n = next.Add(1) {
				errs[i] = one(2 + int(n%1000))
			}
		})
	}
	all.Wait()
	return float64(count) / time.Since(begin).Seconds(), errors.Join(errs...)
}
