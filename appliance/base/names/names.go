// Package names defines what manifests, settings and programs name releases and
// bytes by: channels, architectures and digests.
package names

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
