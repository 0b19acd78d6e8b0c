package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
)

// The vectors belong to the formats, not to this program: see
// tests/vectors/README.md. They are made here, and read here as another
// program would read them.
var update = flag.Bool("update", false, "write tests/vectors anew")

const vectorDir = "../../../tests/vectors"

// manifestCase is one line of tests/vectors/manifest/cases.json.
type manifestCase struct {
	File        string `json:"file"`
	Root        string `json:"root"`
	Channel     string `json:"channel"`
	Arch        string `json:"arch"`
	Floor       uint64 `json:"floor"`
	FloorDigest string `json:"floor_digest"`
	Now         string `json:"now"`
	PadTo       int    `json:"pad_to"`
	Code        string `json:"code"`
	HeldCode    string `json:"held_code"`
	Why         string `json:"why"`
}

// rootCase is one line of tests/vectors/root/cases.json.
type rootCase struct {
	File  string `json:"file"`
	PadTo int    `json:"pad_to"`
	Code  string `json:"code"`
	Why   string `json:"why"`
}

// key is the test key of that name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("phase test vector key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(names ...string) []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	for _, name := range names {
		keys = append(keys, key(name).Public().(ed25519.PublicKey))
	}
	return keys
}

// vectors collects the files of one folder.
type vectors struct {
	t     *testing.T
	dir   string
	files map[string][]byte
}

func (v *vectors) add(file string, data []byte) {
	if old, ok := v.files[file]; ok && !bytes.Equal(old, data) {
		v.t.Fatalf("two vectors are called %s", file)
	}
	v.files[file] = data
}

// settle writes the files, or holds those in the repository against them.
func (v *vectors) settle(cases any) {
	v.t.Helper()
	data, err := json.MarshalIndent(cases, "", "  ")
	if err != nil {
		v.t.Fatal(err)
	}
	v.files["cases.json"] = append(data, '\n')
	dir := filepath.Join(vectorDir, v.dir)
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			v.t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			v.t.Fatal(err)
		}
		for file, data := range v.files {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
				v.t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		v.t.Fatal(err)
	}
	if len(entries) != len(v.files) {
		v.t.Errorf("%s holds %d files, made are %d", dir, len(entries), len(v.files))
	}
	for file, want := range v.files {
		if got := load(v.t, v.dir, file); !bytes.Equal(got, want) {
			v.t.Errorf("%s/%s is not what is made; run this test with -update and read the difference", dir, file)
		}
	}
}

func load(t testing.TB, dir, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func loadCases(t testing.TB, dir string, cases any) {
	t.Helper()
	if err := json.Unmarshal(load(t, dir, "cases.json"), cases); err != nil {
		t.Fatal(err)
	}
}

// pad lengthens a document with spaces, which JSON ignores.
func pad(data []byte, to int) []byte {
	if n := to - len(data); n > 0 {
		return append(bytes.Clone(data), bytes.Repeat([]byte{' '}, n)...)
	}
	return data
}

func (c manifestCase) policy(t *testing.T) trust.Policy {
	t.Helper()
	now, err := time.Parse(time.RFC3339, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	p := trust.Policy{Channel: c.Channel, Arch: c.Arch, Floor: c.Floor, Now: now}
	if c.FloorDigest != "" {
		if p.FloorDigest, err = names.ParseDigest(c.FloorDigest); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestManifestVectors reads every vector as a stranger's offer.
func TestManifestVectors(t *testing.T) {
	var cases []manifestCase
	loadCases(t, "manifest", &cases)
	if len(cases) < 80 {
		t.Fatalf("only %d manifest vectors", len(cases))
	}
	for _, c := range cases {
		t.Run(c.File, func(t *testing.T) {
			root, err := trust.ParseRoot(load(t, "manifest", c.Root))
			if err != nil {
				t.Fatal(err)
			}
			data := pad(load(t, "manifest", c.File), c.PadTo)
			v, err := root.Verify(data, c.policy(t))
			judge(t, c, v, err, c.Code, data)
			v, err = root.VerifyHeld(data, c.Channel, c.Arch)
			judge(t, c, v, err, c.HeldCode, data)
			agree(t, root.Check(data, c.policy(t)), refusal.Code(c.Code))
		})
	}
}

func judge(t *testing.T, c manifestCase, v trust.Verified, err error, code string, data []byte) {
	t.Helper()
	if got := refusal.CodeOf(err); string(got) != code || (err == nil) != (code == "") {
		t.Fatalf("%s: refused as %q (%v), want %q", c.Why, got, err, code)
	}
	if v.Valid() != (err == nil) {
		t.Fatalf("%s: Valid is %v beside error %v", c.Why, v.Valid(), err)
	}
	if err == nil && !bytes.Equal(v.Envelope(), data) {
		t.Error("the envelope is not byte for byte what came in")
	}
}

// agree holds Check's list against Verify's one answer.
func agree(t *testing.T, checks []trust.Check, code refusal.Code) {
	t.Helper()
	var first refusal.Code
	for _, c := range checks {
		if c.OK != (c.Code == "") || c.Name == "" || c.Detail == "" {
			t.Errorf("check %+v contradicts itself or says nothing", c)
		}
		if first == "" {
			first = c.Code
		}
	}
	if first != code {
		t.Errorf("the first check that fails says %q, Verify says %q", first, code)
	}
}

func TestRootVectors(t *testing.T) {
	var cases []rootCase
	loadCases(t, "root", &cases)
	if len(cases) < 30 {
		t.Fatalf("only %d root vectors", len(cases))
	}
	for _, c := range cases {
		t.Run(c.File, func(t *testing.T) {
			data := pad(load(t, "root", c.File), c.PadTo)
			root, err := trust.ParseRoot(data)
			if got := refusal.CodeOf(err); string(got) != c.Code || (err == nil) != (c.Code == "") {
				t.Fatalf("%s: refused as %q (%v), want %q", c.Why, got, err, c.Code)
			}
			if err == nil && !bytes.Equal(root.Raw(), data) {
				t.Error("Raw is not byte for byte what came in")
			}
		})
	}
}
