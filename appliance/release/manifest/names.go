package manifest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Channels a release may be on.
var Channels = []string{"stable", "testing", "nightly"}

// Arches a release may be for.
var Arches = []string{"x86_64", "arm64"}

// Required are the artifacts without which there is no release.
var Required = []string{"kernel", "initramfs", "rootfs"}

// ManifestFile is the file name of a release's envelope.
const ManifestFile = "manifest.json"

var fileNames = map[string]string{
	"kernel":    "vmlinuz",
	"initramfs": "initramfs.img",
	"rootfs":    "rootfs.squashfs",
}

// FileName is the file an artifact is kept in: kernel is vmlinuz, initramfs is
// initramfs.img, rootfs is rootfs.squashfs, any other has its own name.
func FileName(artifact string) string {
	if file, ok := fileNames[artifact]; ok {
		return file
	}
	return artifact
}

// ArtifactName is the artifact kept in a file of that name; an artifact's own
// name stands for itself. False for what no artifact can be called, such as
// manifest.json.
func ArtifactName(file string) (string, bool) {
	for artifact, name := range fileNames {
		if file == name || file == artifact {
			return artifact, true
		}
	}
	return file, checkArtifactName(file) == nil
}

// checkArtifactName keeps names such that each can be a file beside the others
// and a path element of a URL.
func checkArtifactName(name string) error {
	if name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" || strings.ContainsAny(name[:1], "._-") {
		return fmt.Errorf("artifact name %.70q is not 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit", name)
	}
	if name == ManifestFile || strings.HasSuffix(name, ".part") {
		return fmt.Errorf("artifact name %q is taken", name)
	}
	for artifact, file := range fileNames {
		if name == file {
			return fmt.Errorf("artifact name %q is the file of %s", name, artifact)
		}
	}
	return nil
}

// ParseArch reads an arch as people write it: x86_64 or arm64, or their
// aliases amd64 and aarch64.
func ParseArch(text string) (string, error) {
	switch text {
	case "amd64":
		return "x86_64", nil
	case "aarch64":
		return "arm64", nil
	}
	if slices.Contains(Arches, text) {
		return text, nil
	}
	return "", fmt.Errorf("arch %.32q is none of %s", text, strings.Join(Arches, ", "))
}

// ParseChannel reads a channel.
func ParseChannel(text string) (string, error) {
	if slices.Contains(Channels, text) {
		return text, nil
	}
	return "", fmt.Errorf("channel %.32q is none of %s", text, strings.Join(Channels, ", "))
}

// RunningArch is the arch of this program, "" where Phase has no word for it.
func RunningArch() string {
	arch, err := ParseArch(runtime.GOARCH)
	if err != nil {
		return ""
	}
	return arch
}
