package attest

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
)

func release() Release {
	a := func(text string) manifest.Artifact {
		return manifest.Artifact{Size: int64(len(text)), SHA256: names.Sum([]byte(text))}
	}
	info := func(path string, deps ...*debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{GoVersion: "go1.26.3", Path: path, Deps: deps}
	}
	shared := &debug.Module{Path: "example.org/shared", Version: "v1.2.3", Sum: "h1:c2hhcmVk"}
	return Release{
		Arch: "arm64", Name: "2026.11.23", Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Artifacts: map[string]manifest.Artifact{"kernel": a("kernel"), "initramfs": a("initramfs"), "rootfs": a("rootfs")},
		Programs: []Program{
			{"/user/phase", names.Sum([]byte("phase")), info("phase/programs/phase", shared, &debug.Module{
				Path: "example.org/before", Version: "v0.1.0", Replace: &debug.Module{Path: "example.org/after", Version: "v2.0.0+incompatible"}})},
			{"/gokrazy/init", names.Sum([]byte("init")), info("phase/init", shared)},
		},
		Kernel: Kernel{Linux: "7.1.3", Module: "example.org/kernel", Version: "v0.0.1", Sum: "h1:a2VybmVs"},
	}
}

func build() Build {
	return Build{
		Builder: "urn:example:builder", Commit: strings.Repeat("c0", 20), Go: "go1.26.3",
		Tools: []Tool{{"mksquashfs", "4.5.1"}}, Roots: []Digest{{"root/1.json", names.Sum([]byte("root"))}},
	}
}

// The bill lists each module once, the one that is linked where another was
// asked for, and says which program holds which.
func TestSBOM(t *testing.T) {
	data, err := SBOM(release())
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat, SpecVersion, SerialNumber string
		Metadata                             struct{ Timestamp string }
		Components                           []struct {
			Ref           string `json:"bom-ref"`
			Type, Version string
			Purl, Cpe     string
			Hashes        []struct{ Alg, Content string }
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(data, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || bom.SpecVersion != "1.6" || bom.Metadata.Timestamp != "2026-11-23T12:00:00Z" || len(bom.SerialNumber) != 45 {
		t.Errorf("%+v", bom)
	}
	count := map[string]int{}
	for _, c := range bom.Components {
		count[c.Ref]++
		if c.Type == "operating-system" && (c.Cpe != "cpe:2.3:o:linux:linux_kernel:7.1.3:*:*:*:*:*:*:*" || c.Hashes[0].Content != names.Sum([]byte("kernel")).Hex()) {
			t.Errorf("the kernel is %+v", c)
		}
	}
	for _, ref := range []string{"pkg:golang/example.org/kernel@v0.0.1", "program:/user/phase", "program:/gokrazy/init", "pkg:golang/std@1.26.3",
		"pkg:golang/example.org/shared@v1.2.3", "pkg:golang/example.org/after@v2.0.0%2Bincompatible", "artifact:rootfs"} {
		if count[ref] != 1 {
			t.Errorf("%s is there %d times", ref, count[ref])
		}
	}
	for _, d := range bom.Dependencies {
		want := map[string]int{"program:/user/phase": 3, "program:/gokrazy/init": 2}[d.Ref]
		if want > 0 && len(d.DependsOn) != want {
			t.Errorf("%s depends on %q", d.Ref, d.DependsOn)
		}
	}
	bill, err := ReadSBOM(data)
	if err != nil || bill != (Bill{Programs: 2, Modules: 3, Linux: "7.1.3"}) {
		t.Errorf("read again: %+v, %v", bill, err)
	}
	r := release()
	r.Programs[0].Info = nil
	if _, err := SBOM(r); err == nil {
		t.Error("a program that says nothing of its build was listed")
	}
}

// The bill is what the schema of CycloneDX asks for, which comes with the library.
func TestSchema(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	schemas := jsonschema.NewCompiler()
	for _, name := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schema.json"} {
		file := map[string]string{"jsf-0.82.schema.json": "jsf-0.82.schemax.json"}[name]
		f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "schema", cmp.Or(file, name)))
		if err != nil {
			t.Fatal(err)
		}
		schema, err := jsonschema.UnmarshalJSON(f)
		if err == nil {
			err = schemas.AddResource("http://cyclonedx.org/schema/"+name, schema)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := schemas.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	data, err := SBOM(release())
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{string(data): true, strings.Replace(string(data), `"operating-system"`, `"kernel"`, 1): false} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); (err == nil) != ok {
			t.Errorf("%v for %s", err, text)
		}
	}
}

// Both follow from what they are told, in whatever order that comes.
func TestSameInputsSameBytes(t *testing.T) {
	r := release()
	r.Programs[0], r.Programs[1] = r.Programs[1], r.Programs[0]
	var sboms, statements [2][]byte
	for i, each := range []Release{release(), r} {
		var err error
		if sboms[i], err = SBOM(each); err != nil {
			t.Fatal(err)
		}
		if statements[i], err = Provenance(each, build(), sboms[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(sboms[0], sboms[1]) || !bytes.Equal(statements[0], statements[1]) {
		t.Error("the order of the programs shows")
	}
}

func TestProvenance(t *testing.T) {
	r := release()
	sbom, err := SBOM(r)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := Provenance(r, build(), sbom)
	if err != nil {
		t.Fatal(err)
	}
	env := envelope.Envelope{PayloadType: PayloadType, Payload: payload}
	s, err := Parse(env)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Covers(r.Artifacts, sbom); err != nil {
		t.Error(err)
	}
	if sum := s.Summary(); sum.Commit != build().Commit || sum.Builder != "urn:example:builder" || len(sum.From) != 3 {
		t.Errorf("%+v", sum)
	}
	// What it does not speak of is not covered.
	if err := s.Covers(r.Artifacts, append(sbom, '\n')); err == nil || !strings.Contains(err.Error(), layout.SBOMFile) {
		t.Errorf("another bill: %v", err)
	}
	other := release()
	other.Artifacts["kernel"] = manifest.Artifact{Size: 1, SHA256: names.Sum([]byte("other"))}
	if err := s.Covers(other.Artifacts, sbom); err == nil || !strings.Contains(err.Error(), "vmlinuz") {
		t.Errorf("another kernel: %v", err)
	}
	other = release()
	other.Artifacts["dtb"] = manifest.Artifact{Size: 1, SHA256: names.Sum([]byte("dtb"))}
	if err := s.Covers(other.Artifacts, sbom); err == nil {
		t.Error("an artifact that it does not name is covered")
	}
	delete(other.Artifacts, "dtb")
	delete(other.Artifacts, "kernel")
	if err := s.Covers(other.Artifacts, sbom); err == nil {
		t.Error("a release without a kernel is covered")
	}
	for why, change := range map[string]func(*Statement){
		"a receipt":      func(s *Statement) { s.PredicateType = "urn:phase:execution-receipt:v1" },
		"another build":  func(s *Statement) { s.Predicate.BuildDefinition.BuildType = "urn:example:make" },
		"nobody's build": func(s *Statement) { s.Predicate.RunDetails.Builder.ID = "" },
		"of no commit":   func(s *Statement) { s.Predicate.BuildDefinition.ResolvedDependencies = nil },
		"of nothing":     func(s *Statement) { s.Subject = nil },
	} {
		changed := s
		change(&changed)
		data, err := strictjson.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(envelope.Envelope{PayloadType: PayloadType, Payload: data}); err == nil {
			t.Errorf("%s was read", why)
		}
	}
	if _, err := Parse(envelope.Envelope{PayloadType: "text/plain", Payload: payload}); err == nil {
		t.Error("another payload type was read")
	}
}

// FuzzParse: what is read can be written, and says the same.
func FuzzParse(f *testing.F) {
	r := release()
	payload, err := Provenance(r, build(), []byte("a bill"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[]}`))
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(envelope.Envelope{PayloadType: PayloadType, Payload: data})
		if err != nil {
			return
		}
		again, err := strictjson.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := envelope.Sign(PayloadType, again, key)
		if err != nil {
			return // larger than an envelope may be
		}
		env, err := envelope.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Parse(env)
		if err != nil || second.Summary().Commit != s.Summary().Commit {
			t.Fatalf("%v", err)
		}
	})
}

// FuzzReadSBOM: no bill breaks its reader.
func FuzzReadSBOM(f *testing.F) {
	data, err := SBOM(release())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{"type":"library"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bill, err := ReadSBOM(data); err == nil && bill.Programs+bill.Modules > len(data) {
			t.Fatalf("%+v in %d bytes", bill, len(data))
		}
	})
}
