package images

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/tool"
	"phase/images/attest"
)

// attestable are pieces whose programs are Go programs, with what Compile notes
// of them.
func attestable(t *testing.T) Pieces {
	t.Helper()
	p := handmade(t, "x86_64")
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gokrazy/init", "user/phase", workerPath} {
		if err := os.Remove(p.path(pieceTree, name)); err != nil {
			t.Fatal(err)
		}
		write(t, p.path(pieceTree, name), read(t, own))
	}
	write(t, p.path("gok", initramfsInit), read(t, own))
	noted(t, p, func(*origin) {})
	return p
}

func noted(t *testing.T, p Pieces, change func(*origin)) {
	t.Helper()
	o := origin{Name: "seven", Commit: strings.Repeat("c0", 20), Go: "go1.26.3", Tools: []attest.Tool{{Name: "mksquashfs", Version: "4.5.1"}},
		Kernel: attest.Kernel{Linux: "7.1.2", Module: p.Kernel.Module, Version: "v0.0.1", Sum: "h1:a2VybmVs"}}
	change(&o)
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.path(pieceOrigin), data)
}

func TestAttest(t *testing.T) {
	p, out := attestable(t), t.TempDir()
	keys, releases := filepath.Join(out, "keys"), filepath.Join(out, "release")
	run := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		said, log, code := runImages(args...)
		if code != want {
			t.Fatalf("images %v: exit code %d, want %d: %s%s", args, code, want, said, log)
		}
		return said, log
	}
	refused := func(why string, args ...string) {
		t.Helper()
		if _, log := run(1, args...); !strings.Contains(log, why) {
			t.Errorf("images %v: %s, want %q", args, log, why)
		}
	}
	build := func(args ...string) []string {
		return append([]string{"build", "-k", keys, "--from", p.Dir, "-o", out, "--no-disk", "--checkout", ".."}, args...)
	}
	asked := []string{"attest", "-k", keys, "--from", p.Dir, "-o", out}
	seven := []string{"--make-keys", "--release-version", "7", "--name", "seven", "--created", "2026-11-23T12:00:00Z"}
	run(0, build(seven...)...)
	if said, _ := run(0, "inspect", "--json", releases); !strings.Contains(said, `"attested": null`) {
		t.Errorf("nothing was attested yet: %s", said)
	}

	// One person signs; it is the same each time, and inspect shows it.
	run(0, asked...)
	beside := func(name string) string { return filepath.Join(releases, "stable/x86_64", name) }
	first := [2]string{string(read(t, beside("sbom.cdx.json"))), string(read(t, beside("provenance.json")))}
	said, _ := run(0, append(asked, "--json")...)
	if second := [2]string{string(read(t, beside("sbom.cdx.json"))), string(read(t, beside("provenance.json")))}; second != first {
		t.Error("made again it is another")
	}
	if !strings.Contains(said, `"programs": 4`) || !strings.Contains(said, `"commit": "c0c0`) {
		t.Errorf("attest said %s", said)
	}
	if said, _ = run(0, "inspect", releases); !strings.Contains(said, "4 programs") || !strings.Contains(said, "from commit c0c0") {
		t.Errorf("inspect said %s", said)
	}

	// It goes with the artifacts under another manifest, and not beside others.
	run(0, "sign", "-k", keys, "--from", releases, "-o", releases, "-c", "testing", "--release-version", "8")
	if string(read(t, filepath.Join(releases, "testing/x86_64/provenance.json"))) != first[1] {
		t.Error("signed again, the provenance is another")
	}
	write(t, beside("sbom.cdx.json"), []byte(first[0]+"\n"))
	refused("does not speak of this sbom.cdx.json", "inspect", releases)
	refused("does not speak of this sbom.cdx.json", "sign", "-k", keys, "--from", releases, "-o", releases, "--release-version", "9")
	if err := os.Remove(beside("sbom.cdx.json")); err != nil {
		t.Fatal(err)
	}
	refused("only one of", "inspect", releases)

	// Others sign what was exported before there is a release.
	draft, provenance := filepath.Join(out, "draft"), filepath.Join(out, "provenance")
	run(0, build("--release-version", "10", "--name", "ten", "--created", "2026-11-23T12:00:00Z", "--export", draft)...)
	run(0, append(asked, "--export", provenance, draft)...)
	run(0, "sign", "--key", filepath.Join(keys, "release.pem"), draft)
	run(0, build("--import", draft)...)
	if _, err := os.Stat(beside("provenance.json")); !os.IsNotExist(err) {
		t.Errorf("beside a new release there is the provenance of the one before: %v", err)
	}
	refused("no key that may sign the release has signed it", append(asked, "--import", provenance)...)
	refused("no key that may sign the release has signed it", append(asked, "--key", filepath.Join(keys, "root.pem"))...)
	if said, _ = run(0, "sign", "--key", filepath.Join(keys, "release.pem"), provenance); !strings.Contains(said, "mksquashfs@4.5.1") {
		t.Errorf("sign said %s", said)
	}
	run(0, append(asked, "--import", provenance)...)
	run(0, "inspect", releases)
	refused("judged with the release", "inspect", provenance)

	// Other tools make another statement, which these signatures are not of.
	noted(t, p, func(o *origin) { o.Tools[0].Version = "4.6.1" })
	refused("is not how it was built here", append(asked, "--import", provenance)...)
	for why, change := range map[string]func(*origin){
		"not built in a checkout of git":  func(o *origin) { o.Commit = "" },
		"a tree that is not commit c0c0c": func(o *origin) { o.Modified = true },
	} {
		noted(t, p, change)
		refused(why, asked...)
	}
	other := handmade(t, "x86_64")
	refused("build it again", "attest", "-k", keys, "--from", other.Dir, "-o", out)
	run(2, append(asked, "-A", "mips")...)
}

func TestLinuxVersion(t *testing.T) {
	x86 := make([]byte, 0x400)
	copy(x86[0x202:], "HdrS")
	x86[0x20e], x86[0x20f] = 0x50, 0x01
	copy(x86[0x350:], "7.1.2 (gokrazy@docker) #1 SMP")
	for image, want := range map[string]string{
		string(x86): "7.1.2",
		"\x00\x00Linux version %s\n\x00\x00Linux version 7.1.3 (gokrazy@docker)": "7.1.3",
		string(x86[:0x340]):     "", // the version is behind its end
		"Linux version unknown": "",
		"":                      "",
	} {
		if is, err := linuxVersion([]byte(image)); is != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: %q, %v", image, is, err)
		}
	}
}

func TestToolVersion(t *testing.T) {
	for _, each := range tools {
		need(t, each.name)
		if is, err := toolVersion(t.Context(), each.name, each.ask); err != nil || !versionNumber.MatchString(is) {
			t.Errorf("%s: %q, %v", each.name, is, err)
		}
	}
	if _, err := tool.Find("true"); err != nil {
		t.Fatal(err)
	}
	if is, err := toolVersion(t.Context(), "true", ""); err == nil {
		t.Errorf("true says it is %q", is)
	}
}
