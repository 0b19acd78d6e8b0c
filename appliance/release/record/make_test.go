package record_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/appliance/release/record"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

// The vectors belong to the format: see tests/vectors/README.md.
var update = flag.Bool("update", false, "write tests/vectors/record anew")

const (
	vectorDir = "../../../tests/vectors/record"
	noon      = "2026-06-01T12:00:00Z"
)

// vector is one line of cases.json.
type vector struct {
	File    string `json:"file"`
	Key     string `json:"key"`
	Now     string `json:"now"`
	PadTo   int    `json:"pad_to"`
	Version uint64 `json:"version"` // of the release in it, when accepted
	Code    string `json:"code"`
	Why     string `json:"why"`
}

func when(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return at
}

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("phase test vector key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(list string) (keys []ed25519.PublicKey) {
	for _, name := range strings.Fields(list) {
		keys = append(keys, key(name).Public().(ed25519.PublicKey))
	}
	return keys
}

// root makes a root document; all of its root keys must sign, and signers do.
func root(t testing.TB, version uint64, expires, rootKeys, releaseKeys, signers string) []byte {
	t.Helper()
	var with []ed25519.PrivateKey
	for _, name := range strings.Fields(signers) {
		with = append(with, key(name))
	}
	data, err := trust.SignRoot(trust.RootSpec{Version: version, Expires: when(expires), Roles: map[string]trust.RoleSpec{
		trust.RoleRoot:    {Keys: public(rootKeys), Threshold: len(public(rootKeys))},
		trust.RoleRelease: {Keys: public(releaseKeys), Threshold: 1},
	}}, with...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// release makes the envelope of a manifest.
func release(t testing.TB, signer, channel, arch, expires string, version uint64) []byte {
	t.Helper()
	a := manifest.Artifact{Size: 1, SHA256: names.Sum(nil)}
	data, err := trust.SignRelease(manifest.Manifest{Version: version, Name: "test", Channel: channel, Arch: arch,
		Created: when("2026-05-01T00:00:00Z"), Expires: when(expires), Cmdline: "quiet",
		Artifacts: map[string]manifest.Artifact{"kernel": a, "initramfs": a, "rootfs": a}}, key(signer))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// join is the text of a value, whatever its parts are.
func join(envelope []byte, roots ...[]byte) string {
	return `{"roots":[` + string(bytes.Join(roots, []byte(","))) + `],"manifest":` + string(envelope) + `}`
}

func fleet(t testing.TB, first []byte) string {
	t.Helper()
	c, err := chain.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	return c.Fleet()
}

// vectors are the cases and their files. Each damaged one has one fault.
func vectors(t testing.TB) (cases []vector, files map[string]string) {
	const late, past = "2036-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
	one := root(t, 1, late, "root1", "a", "root1")
	oneExpired := root(t, 1, past, "root1", "a", "root1")
	two := root(t, 2, late, "root2", "b", "root1 root2")
	twoAlone := root(t, 2, late, "root2", "b", "root2")
	twoExpired := root(t, 2, past, "root2", "b", "root1 root2")
	three := root(t, 3, late, "root2", "c", "root2")
	theirs := root(t, 1, late, "stranger", "other", "stranger")
	good := release(t, "a", "stable", "x86_64", late, 7)
	rotated := release(t, "b", "stable", "x86_64", late, 8)
	our := "/phase/" + fleet(t, one) + "/stable/x86_64/manifest"
	files = map[string]string{}
	add := func(file, text, key string, version uint64, code, why string) {
		files[file+".json"] = text
		cases = append(cases, vector{File: file + ".json", Key: key, Now: noon, Version: version, Code: code, Why: why})
	}
	add("good", join(good, one), our, 7, "", "root version 1 and a release it vouches for")
	add("good-two-roots", join(rotated, one, two), our, 8, "", "a new root and its first release travel together")
	add("good-link-expired", join(rotated, oneExpired, two), "/phase/"+fleet(t, oneExpired)+"/stable/x86_64/manifest", 8, "", "only the last link must be unexpired")
	add("good-unknown", strings.TrimSuffix(join(good, one), "}")+`,"note":1}`, our, 7, "", "unknown fields are ignored")
	add("good-another-fleet", join(release(t, "other", "stable", "x86_64", late, 9), theirs), "/phase/"+fleet(t, theirs)+"/stable/x86_64/manifest", 9, "", "a fleet that the reader does not know")
	add("signature-stranger", join(release(t, "other", "stable", "x86_64", late, 7), one), our, 0, "signature", "signed by nobody of the fleet")
	add("signature-another-fleet", join(release(t, "other", "stable", "x86_64", late, 9), theirs), our, 0, "signature", "a good record under the key of another fleet")
	add("signature-rotated-away", join(good, one, two), our, 0, "signature", "a key that root version 2 no longer names")
	add("signature-link", join(rotated, one, twoAlone), our, 0, "signature", "root version 2 lacks the signature of version 1")
	add("expired-root", join(rotated, one, twoExpired), our, 0, "expired", "the last root is expired")
	add("expired-manifest", join(release(t, "a", "stable", "x86_64", past, 7), one), our, 0, "expired", "the manifest is expired")
	add("channel", join(release(t, "a", "testing", "x86_64", late, 7), one), our, 0, "channel", "a release of another channel than the key's")
	add("arch", join(release(t, "a", "stable", "arm64", late, 7), one), our, 0, "arch", "a release for another arch than the key's")
	add("format-link-missing", join(rotated, one, three), our, 0, "format", "version 3 follows version 1")
	add("format-begins-later", join(rotated, two), our, 0, "format", "the chain begins with version 2")
	add("format-no-roots", join(good), our, 0, "format", "no roots")
	add("format-no-manifest", `{"roots":[`+string(one)+`]}`, our, 0, "format", "no manifest")
	add("format-twice", strings.TrimSuffix(join(good, one), "}")+`,"manifest":{}}`, our, 0, "format", "the manifest comes twice")
	add("format-case", strings.TrimSuffix(join(good, one), "}")+`,"Roots":[]}`, our, 0, "format", "roots comes in two cases")
	add("format-trailing", join(good, one)+"x", our, 0, "format", "bytes after the value")
	add("format-empty", "", our, 0, "format", "nothing")
	add("size-roots", join(good, slicesOf(one, chain.MaxLinks+1)...), our, 0, "size", "33 roots, at most 32")
	add("size", join(good, one), our, 0, "size", "over 64 KiB")
	cases[len(cases)-1].PadTo = record.MaxBytes + 1
	for name, k := range map[string]string{
		"key-fleet-upper": strings.ToUpper(our[:39]) + our[39:], "key-short": strings.Replace(our, our[7:39], our[7:38], 1),
		"key-tail": our + "/x", "key-prefix": "/pk" + our[6:],
	} {
		add(name, join(good, one), k, 0, "format", "a key in another spelling")
	}
	add("key-channel", join(good, one), strings.Replace(our, "stable", "beta", 1), 0, "channel", "a key of a channel that is none")
	add("key-arch", join(good, one), strings.Replace(our, "x86_64", "amd64", 1), 0, "arch", "a key with the alias of an arch")
	return cases, files
}

func slicesOf(data []byte, n int) (list [][]byte) {
	for range n {
		list = append(list, data)
	}
	return list
}

// TestMakeVectors holds the files in the repository against what is made here,
// or writes them.
func TestMakeVectors(t *testing.T) {
	cases, files := vectors(t)
	text, err := json.MarshalIndent(sorted(cases), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	files["cases.json"] = string(text) + "\n"
	if *update {
		if err := os.RemoveAll(vectorDir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(vectorDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, data := range files {
			if err := os.WriteFile(filepath.Join(vectorDir, file), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(vectorDir)
	if err != nil || len(entries) != len(files) {
		t.Errorf("%s holds %d files, made are %d (%v)", vectorDir, len(entries), len(files), err)
	}
	for file, want := range files {
		if got, err := os.ReadFile(filepath.Join(vectorDir, file)); err != nil || string(got) != want {
			t.Errorf("%s is not what is made (%v); run this test with -update and read the difference", file, err)
		}
	}
}
