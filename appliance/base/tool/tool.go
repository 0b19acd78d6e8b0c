package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// debianPackage names where each outside tool comes from, so that the
// error of a missing one says what to install.
var debianPackage = map[string]string{
	"e2fsck":     "e2fsprogs",
	"fsck.fat":   "dosfstools",
	"git":        "git",
	"mcopy":      "mtools",
	"mkfs.ext4":  "e2fsprogs",
	"mksquashfs": "squashfs-tools",
	"qemu-img":   "qemu-utils",
	"sgdisk":     "gdisk",
	"unsquashfs": "squashfs-tools",
}

// sbin is searched too: tools for disks are there, and it is not in every PATH.
var sbin = []string{"/usr/sbin", "/sbin"}

func findTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range sbin {
		if err == nil {
			break
		}
		path, err = exec.LookPath(dir + "/" + name)
	}
	if err == nil {
		return path, nil
	}
	if pkg, known := debianPackage[name]; known {
		return "", fmt.Errorf("%s is not installed: apt-get install %s", name, pkg)
	}
	return "", fmt.Errorf("%s is not installed, or not in PATH", name)
}

// command is one run of an outside tool.
type command struct {
	name string
	args []string
	dir  string
	env  []string  // added to a clean environment
	log  io.Writer // its output as it comes; else only an error shows it
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

// run runs a tool and returns its stdout. What a tool that fails has said is in
// the error.
func (c command) run(ctx context.Context) ([]byte, error) {
	path, err := findTool(c.name)
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, c.args...)
	cmd.Dir, cmd.Env = c.dir, environment(c.env)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &said), &said
	if c.log != nil {
		cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &said, c.log), io.MultiWriter(&said, c.log)
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("%s: %w: %s", c.name, err, lastLines(said.String(), 12))
		}
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return out.Bytes(), nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
