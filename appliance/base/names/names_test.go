package names

import (
	"strings"
	"testing"
)

func TestDigest(t *testing.T) {
	d := Sum(nil)
	const text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if d.String() != text || "sha256:"+d.Hex() != text || d.IsZero() || !(Digest{}).IsZero() {
		t.Errorf("Sum of nothing is %s", d)
	}
	if got, err := ParseDigest(text); err != nil || got != d {
		t.Errorf("ParseDigest: %s, %v", got, err)
	}
	for _, text := range []string{
		"", "sha256:", d.Hex(), strings.ToUpper(text), "SHA256:" + d.Hex(), "sha256:" + strings.ToUpper(d.Hex()),
		text[:70], text + "0", text + " ", " " + text, "sha512:" + d.Hex(), text[:70] + "g", "sha256:sha256:" + d.Hex(),
	} {
		if got, err := ParseDigest(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
	var back Digest
	if text, _ := d.MarshalText(); back.UnmarshalText(text) != nil || back != d {
		t.Errorf("text form reads back as %s", back)
	}
	if err := back.UnmarshalText([]byte(d.Hex())); err == nil || back != d {
		t.Errorf("bare hex: %v, %s", err, back)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64", "": "", "x86": "", "ARM64": "", "any": ""} {
		if got, err := ParseArch(text); got != want || (err == nil) != (want != "") {
			t.Errorf("ParseArch(%q) = %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"stable": "stable", "testing": "testing", "nightly": "nightly", "": "", "Stable": ""} {
		if got, err := ParseChannel(text); got != want || (err == nil) != (want != "") {
			t.Errorf("ParseChannel(%q) = %q, %v", text, got, err)
		}
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(Sum(nil).String())
	f.Add(Sum(nil).Hex())
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDigest(text); err == nil && d.String() != text {
			t.Fatalf("%q and %q are one digest", text, d)
		}
	})
}
