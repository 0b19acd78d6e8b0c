package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/linux"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
)

// newestTime is how long the search for a newer release on the disk may take: the
// slowest of the machines this runs on reads, hashes and loads one in 20 seconds.
const newestTime = 2 * time.Minute

// startNewest jumps from the release on the boot disk to the one in the store that
// this machine should run, if there is one, before the services start. A process
// does it, so that nothing it finds on a damaged disk can end init. When it fails,
// the machine goes on with the release it has.
func (n *node) startNewest() error {
	if n.carried || n.data == "" || !n.options.Cache {
		return nil
	}
	if n.release.Valid() && !mayStart(layout.Store, n.release.Manifest(), n.options.Channel) {
		return nil
	}
	// Now: after a jump it would be said by the next release alone, if ever.
	if err := n.reportTrials(); err != nil {
		n.report.problem("trial: %v", err)
	}
	child := exec.Command(phase, "kexec", "--boot", "--store", layout.Store, "--state", runDir, "--root", rootFile)
	child.Env = environment
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	child.Stderr = child.Stdout
	if err := child.Start(); err != nil {
		return err
	}
	began := n.clock.Now()
	done := make(chan error, 1)
	go func() {
		n.consoleLines("kexec", out)
		done <- child.Wait()
	}()
	for end := n.clock.Now().Add(newestTime); n.clock.Now().Before(end); {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("looking for a newer one on the disk: %w", err)
			}
			n.report.say("this release stays, of those on the disk none is started instead; it took %.2f s to see", n.clock.Now().Sub(began).Seconds())
			return nil
		case <-n.clock.After(petEvery):
			if err := n.shutdown.watchdog.Pet(); err != nil {
				n.report.problem("%v", err)
			}
		}
	}
	if n.shutdown.begun.Load() {
		select {} // it jumps
	}
	_ = child.Process.Kill() // its end is seen by the goroutine above
	return fmt.Errorf("looking for a newer one on the disk took longer than %s", newestTime)
}

// maxManifests is how many manifests of a store are looked at. It keeps fewer.
const maxManifests = 64

// mayStart says whether a store can have a release that should be started instead of
// the running one, by what its manifests say of themselves: to verify them takes a
// large program, which costs a slow machine seconds at every start, and none that is
// neither newer nor of another channel than the running one is ever started. Where
// the owner holds the node on a release, and in any doubt, the answer is yes.
func mayStart(store string, running manifest.Manifest, channel string) bool {
	if _, err := os.Lstat(filepath.Join(store, layout.PinFile)); !errors.Is(err, fs.ErrNotExist) {
		return true
	}
	folder := filepath.Join(store, layout.ReleaseFolder)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	if len(entries) > maxManifests {
		return true
	}
	for _, e := range entries {
		data, err := statefile.ReadCapped(filepath.Join(folder, e.Name()), envelope.MaxBytes)
		if err != nil {
			continue // nor can it be started
		}
		signed, err := envelope.Parse(data)
		if err != nil {
			continue
		}
		m, err := manifest.Parse(signed.Payload)
		if err == nil && m.Channel == channel && m.Arch == running.Arch && (running.Channel != channel || m.Version > running.Version) {
			return true
		}
	}
	return false
}

// consoleLines carries what a program writes to the console.
func (n *node) consoleLines(name string, from io.Reader) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		n.report.line(linux.Notice, name, lines.Text())
	}
	_, _ = io.Copy(io.Discard, from) // after a line that was too long
}
