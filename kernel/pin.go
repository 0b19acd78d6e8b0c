//go:build kernelpin

package kernel

// These imports keep the kernels in go.mod, at one version, when it is tidied.
// No build sets the tag: a program that imports this package does not make Go
// download 76 MB of kernels; `images build` does, for the one arch it needs.
import (
	_ "github.com/gokrazy/firmware"
	_ "github.com/gokrazy/kernel.amd64"
	_ "github.com/gokrazy/kernel.arm64"
	_ "github.com/gokrazy/kernel.rpi"
)
