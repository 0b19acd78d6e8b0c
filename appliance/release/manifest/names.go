package manifest

import (
	"fmt"
	"strings"
)

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
