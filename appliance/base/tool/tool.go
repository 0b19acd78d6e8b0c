// Package tool finds and runs the programs of others that building images and
// starting machines need, in an environment that leaves no trace in what they
// write. The error of one that is not there says what to install.
package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// debianPackage names where each tool, and each file of one, comes from.
var debianPackage = map[string]string{
	"AAVMF_CODE.fd":       "qemu-efi-aarch64",
	"OVMF_CODE_4M.fd":     "ovmf",
	"dumpe2fs":            "e2fsprogs",
	"e2fsck":              "e2fsprogs",
	"fsck.fat":            "dosfstools",
	"git":                 "git",
	"mcopy":               "mtools",
	"mkfs.ext4":           "e2fsprogs",
	"mksquashfs":          "squashfs-tools",
	"qemu-img":            "qemu-utils",
	"qemu-system-aarch64": "qemu-system-arm",
	"qemu-system-x86_64":  "qemu-system-x86",
	"sgdisk":              "gdisk",
	"unsquashfs":          "squashfs-tools",
}

// Missing is the error for a tool, or a file of one, that is not there.
func Missing(name string) error {
	if pkg, known := debianPackage[name]; known {
		return fmt.Errorf("%s is not installed: apt-get install %s", name, pkg)
	}
	return fmt.Errorf("%s is not installed, or not in PATH", name)
}

// sbin is searched too: tools for disks are there, and it is not in every PATH.
var sbin = []string{"/usr/sbin", "/sbin"}

// Find returns the path of a tool; the error is that of Missing.
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range sbin {
		if err == nil {
			break
		}
		path, err = exec.LookPath(dir + "/" + name)
	}
	if err != nil {
		return "", Missing(name)
	}
	return path, nil
}

// Command is one run of a tool.
type Command struct {
	Name string
	Args []string
	Dir  string
	Env  []string  // added to a clean environment
	Log  io.Writer // its output as it comes; nil: only an error shows it
}

// passed are the variables a tool may see. Others are left out because they
// change bytes: SOURCE_DATE_EPOCH makes mksquashfs refuse explicit times,
// TZ and MKE2FS_CONFIG get into file systems.
var passed = []string{"PATH", "HOME", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOFLAGS", "GOTOOLCHAIN", "GOROOT", "GOENV",
	"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"}

func environment(more []string) []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range passed {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, more...)
}

// Run runs the tool and returns its stdout. What a tool that fails has said is
// in the error.
func (c Command) Run(ctx context.Context) ([]byte, error) {
	path, err := Find(c.Name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	said := &output{log: c.Log}
	cmd := exec.CommandContext(ctx, path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, environment(c.Env)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, said), said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("%s: %w: %s", c.Name, err, lastLines(said.text.String(), 12))
		}
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return out.Bytes(), nil
}

// output is what a tool says on both of its streams, each written by a
// goroutine of its own.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	log  io.Writer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.log != nil {
		_, _ = o.log.Write(p) // a log that is gone is no reason to stop the tool
	}
	return o.text.Write(p)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
