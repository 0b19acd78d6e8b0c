// Package layout says where the files of a release are: in a folder of
// releases, below the URL of a provider, and on a node. Such a folder, which
// fetch and the images command fill and plasmd serves, is
//
//	<channel>/<arch>/{manifest.json,vmlinuz,initramfs.img,rootfs.squashfs}
//	<channel>/<arch>/{sbom.cdx.json,provenance.json}, if there are any
//	root/<version>.json
//
// and a provider has the same paths, and blobs/sha256/<hex> for every artifact.
package layout

import (
	"fmt"
	"strconv"
	"strings"

	"phase/appliance/base/names"
)

const (
	// Boot is where a node mounts the boot partition of the stub, which holds
	// its manifest, kernel and initramfs; its rootfs is a partition.
	Boot = "/boot"
	// Carried is where a node finds the release that was carried over a jump.
	Carried = "/release"

	// First is the program in the initrd of a jump that runs before the release's
	// own init: the small init of the release that jumped, see init/initramfs.
	First = "/phase-first"

	// Store is where a node keeps releases on its disk (package store/disk).
	Store = "/perm/phase/store"
	// ReleaseFolder of it has the manifests, and PinFile the release that the owner
	// keeps the node on.
	ReleaseFolder = "releases"
	PinFile       = "pin.json"
	// MirrorFolder, beside Store, is a folder of releases as above: those of other
	// arches that a node keeps for others (package mirror).
	MirrorFolder = "mirror"

	// ManifestFile is the file name of a release's envelope.
	ManifestFile = "manifest.json"
	// SBOMFile and ProvenanceFile lie beside a manifest and speak of the same
	// release: a bill of materials, and who built it from what. They are no
	// artifacts: no node fetches them.
	SBOMFile       = "sbom.cdx.json"
	ProvenanceFile = "provenance.json"
	// RootFolder has the root documents, one file a version.
	RootFolder = "root"
	// PartSuffix ends the name of a file that is not whole yet.
	PartSuffix = ".part"
)

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
	return file, CheckArtifactName(file) == nil
}

// Documents are the files beside a manifest that speak of the release, of at
// most MaxDocument bytes each: 1 MiB.
var Documents = []string{SBOMFile, ProvenanceFile}

// MaxDocument is in bytes.
const MaxDocument = 1 << 20

// CheckArtifactName keeps names such that each can be a file beside the others
// and a path element of a URL.
func CheckArtifactName(name string) error {
	if name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" || strings.ContainsAny(name[:1], "._-") {
		return fmt.Errorf("artifact name %.70q is not 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit", name)
	}
	if name == ManifestFile || strings.HasSuffix(name, PartSuffix) {
		return fmt.Errorf("artifact name %q is taken", name)
	}
	for artifact, file := range fileNames {
		if name == file {
			return fmt.Errorf("artifact name %q is the file of %s", name, artifact)
		}
	}
	return nil
}

// Release is the folder of the release on a channel for an arch.
func Release(channel, arch string) string { return channel + "/" + arch }

// Manifest is the path of that release's envelope.
func Manifest(channel, arch string) string { return Release(channel, arch) + "/" + ManifestFile }

// Artifact is the path of one of its artifacts.
func Artifact(channel, arch, name string) string {
	return Release(channel, arch) + "/" + FileName(name)
}

// Root is the path of the root document of one version.
func Root(version uint64) string {
	return RootFolder + "/" + strconv.FormatUint(version, 10) + ".json"
}

// RootVersion reads the version from the name of a file in RootFolder. There
// is one name for a version: "01.json" is none.
func RootVersion(file string) (uint64, bool) {
	number, _ := strings.CutSuffix(file, ".json")
	version, err := strconv.ParseUint(number, 10, 64)
	return version, err == nil && RootFolder+"/"+file == Root(version)
}

// Blob is the path where a provider has an artifact by its digest.
func Blob(d names.Digest) string { return "blobs/sha256/" + d.Hex() }

// InInitrd is the name, in the initrd of a jump, of a file that will be below
// Carried.
func InInitrd(file string) string { return Carried[1:] + "/" + file }
