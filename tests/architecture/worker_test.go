package architecture

import (
	"slices"
	"strings"
	"testing"
)

// workerLinks are the packages of appliance/ that the worker's own program may
// link: each is paid for by every job that starts.
var workerLinks = []string{
	"base/strictjson", "compute/hostfs", "compute/job", "compute/sandbox", "compute/wasm", "compute/worker/inside", "compute/worker/protocol", "machine/linux", "machine/walls",
}

// workerLeaves are packages of the standard library that none of those may import,
// as they are large or take long to start.
var workerLeaves = []string{"crypto/tls", "html/template", "log/slog", "net", "net/http", "regexp", "text/template"}

// TestWorkerLinks holds programs/phase-worker to these lists, and the lists to it.
func TestWorkerLinks(t *testing.T) {
	imports := map[string][]string{}
	for _, f := range read(t) {
		if !f.test() {
			imports[f.dir()] = append(imports[f.dir()], f.imports...)
		}
	}
	linked := map[string]bool{}
	var follow func(dir string)
	follow = func(dir string) {
		for _, imported := range imports[dir] {
			if slices.Contains(workerLeaves, imported) {
				t.Errorf("%s, which the worker links, imports %s", dir, imported)
			}
			if own, ok := strings.CutPrefix(imported, "phase/"); ok && !linked[own] {
				linked[own] = true
				follow(own)
			}
		}
	}
	follow("programs/phase-worker")
	for _, name := range workerLinks {
		if !linked["appliance/"+name] {
			t.Errorf("stale row: the worker does not link %s", name)
		}
		delete(linked, "appliance/"+name)
	}
	for own := range linked {
		t.Errorf("the worker links %s", own)
	}
}
