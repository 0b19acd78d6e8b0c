package layout

import (
	"strings"
	"testing"
)

// An artifact has one file, and a file one artifact.
func TestFileNames(t *testing.T) {
	for artifact, file := range map[string]string{
		"kernel": "vmlinuz", "initramfs": "initramfs.img", "rootfs": "rootfs.squashfs", "sbom.json": "sbom.json",
	} {
		if got := FileName(artifact); got != file {
			t.Errorf("FileName(%q) = %q", artifact, got)
		}
		for _, name := range []string{file, artifact} {
			if got, ok := ArtifactName(name); !ok || got != artifact {
				t.Errorf("ArtifactName(%q) = %q, %v", name, got, ok)
			}
		}
	}
	for _, file := range []string{"manifest.json", "", "../kernel", "vmlinuz.part", ".x", "a b", "A", strings.Repeat("a", 65)} {
		if got, ok := ArtifactName(file); ok {
			t.Errorf("ArtifactName(%q) = %q", file, got)
		}
	}
}

// A version has one name, so that a document has one address.
func TestRootVersion(t *testing.T) {
	for _, version := range []uint64{1, 2, 10, 1<<53 - 1} {
		file, ok := strings.CutPrefix(Root(version), RootFolder+"/")
		if got, known := RootVersion(file); !ok || !known || got != version {
			t.Errorf("%s is read as version %d, %v", file, got, known)
		}
	}
	for _, file := range []string{"", "1", ".json", "01.json", "+1.json", "-1.json", "1.json.json", "99999999999999999999.json", "../1.json", "1.JSON"} {
		if got, ok := RootVersion(file); ok {
			t.Errorf("%q is read as version %d", file, got)
		}
	}
}
