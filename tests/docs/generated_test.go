// Package docs holds the pages to the programs: what can be written from the code
// is written from it, links lead somewhere, the commands of pages are run, and
// measured figures name what prints them.
//
//	make docs         writes docs/reference
//	make docs-check   says whether they, and all other pages, are true
package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/appliance/daemon/config"
)

var update = flag.Bool("update", false, "write the pages that are made from the code")

// by begins each page that is made.
const by = "<!-- Written by `make docs`. Do not edit. -->\n"

// reference is the folder of pages that are made whole.
const reference = "docs/reference"

// page is one of them.
type page struct {
	name, about string
	text        func(t *testing.T) string
}

func pages() []page {
	of := func(program string) func(*testing.T) string {
		return func(t *testing.T) string { return manual(t, program) }
	}
	return []page{
		{"plasmd.md", "the daemon, and what people ask of it: jobs, receipts, updates, releases", of("plasmd")},
		{"discover.md", "who is on the network, and what they offer", of("discover")},
		{"fetch.md", "download a release and verify it", of("fetch")},
		{"verify.md", "check a manifest and files against a root", of("verify")},
		{"images.md", "keys, releases, disk images and sticks", of("images")},
		{"qemu.md", "start one machine on this terminal; `make run` calls it", of("qemu")},
		{"kexec.md", "a program of the machine: load a release and jump into it", of("kexec")},
		{"net.md", "a service of the machine: its network", of("net")},
		{"update.md", "a service of the machine: newer releases", of("update")},
		{"configuration.md", "the keys of `plasmd.toml`", configuration},
		{"api.md", "the HTTP interface under `/v1`", apiPage},
		{"drivers.md", "network cards, disks and USB that the kernels have drivers for", drivers},
		{"metrics.md", "what `/metrics` has", metrics},
		{"make.md", "the targets of `make`", targets},
	}
}

// TestGenerated: the pages that are made from the code are what the code says.
func TestGenerated(t *testing.T) {
	var there []string
	var index strings.Builder
	index.WriteString(by + "# Reference\n\nWritten from the programs. On a machine with the Debian package `discover`, `fetch` and `verify` are called\n" +
		"`phase discover`, `phase fetch` and `phase verify`; in a checkout all are in `build/bin` after `make build`.\n\n| page | what |\n|---|---|\n")
	for _, p := range pages() {
		compare(t, filepath.Join(reference, p.name), by+p.text(t))
		fmt.Fprintf(&index, "| [%s](%s) | %s |\n", strings.TrimSuffix(p.name, ".md"), p.name, p.about)
		there = append(there, p.name)
	}
	index.WriteString("\nElsewhere, and held to the code by tests as well: the [settings of a node](../boot.md) (`phase.…`), its [state files, sockets\n" +
		"and ports](../../appliance/README.md#state-files), its [HTTP routes for everybody](../serve.md), the [codes of refusals](../trust.md#codes).\n")
	compare(t, filepath.Join(reference, "README.md"), index.String())
	there = append(there, "README.md")
	entries, err := os.ReadDir(filepath.Join(root, reference))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(there, e.Name()) {
			t.Errorf("%s/%s is made by nothing: delete it", reference, e.Name())
		}
	}
}

// compare holds a file to what it should be, or writes it.
func compare(t *testing.T, name, want string) {
	t.Helper()
	path := filepath.Join(root, name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil || string(data) != want {
		t.Errorf("%s is not what the code says: run make docs (%v)", name, err)
	}
}

// configuration is the file that plasmd init writes.
func configuration(*testing.T) string {
	return "# The configuration of plasmd\n\n`plasmd start` reads `/etc/phase/plasmd.toml` for root, else `$XDG_CONFIG_HOME/phase/plasmd.toml`, or what `--config` names.\n" +
		"`plasmd init` writes it as it is here.\n\n```toml\n" + strings.TrimSpace(string(config.Default)) + "\n```\n"
}
