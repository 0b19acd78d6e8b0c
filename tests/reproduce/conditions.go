package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"phase/tests/wallclock"
)

// nobody builds the second time, where the first one is root.
const nobody = 65534

// otherDate is when the second build believes to run. A date before this one, since
// go build would take the files in its cache for old ones after it.
var otherDate = time.Date(2019, 5, 17, 11, 22, 33, 0, time.UTC)

// conditions are all that must not show in what is built.
type conditions struct {
	about    string // in words
	checkout string
	out      string
	env      []string
	umask    string
	user     *syscall.Credential // nil: who runs this
	at       time.Time           // zero: the date as it is
}

// usual are those of this process.
func usual(checkout, out string) conditions {
	return conditions{
		about: fmt.Sprintf("user %d, umask 022, the date, time zone, language and home of this machine", os.Geteuid()), checkout: checkout, out: out,
		env: os.Environ(), umask: "022",
	}
}

// unusual are others in all respects that dir, a folder of its own, has room for.
// The caches of Go stay the same.
func unusual(checkout, out, dir string, tools []string) (conditions, error) {
	c := conditions{
		about: "umask 077, time zone Chatham, Turkish, another home and go env", checkout: checkout, out: out, umask: "077",
		env: []string{
			"PATH=" + strings.Join(append(slices.Clone(tools), os.Getenv("PATH")), string(os.PathListSeparator)), "HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + filepath.Join(dir, "tmp"), "USER=other", "LOGNAME=other",
			"TZ=Pacific/Chatham", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "SOURCE_DATE_EPOCH=1",
			"GOFLAGS=" + os.Getenv("GOFLAGS"), "CGO_ENABLED=0", "GOTOOLCHAIN=local",
		},
	}
	if wallclock.Here {
		c.at = otherDate
		c.about += ", on " + otherDate.Format(time.DateOnly)
	}
	for _, name := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return c, err
		}
	}
	// What go env -w would have written.
	settings := filepath.Join(dir, "home", ".config", "go", "env")
	if err := errors.Join(os.MkdirAll(filepath.Dir(settings), 0o755), os.WriteFile(settings, []byte("GOAMD64=v3\nGOARM64=v8.1\n"), 0o644)); err != nil {
		return c, err
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return c, fmt.Errorf("asking go for its %s: %w", name, err)
		}
		c.env = append(c.env, name+"="+strings.TrimSpace(string(value)))
	}
	return c, nil
}

// asNobody has the second build run as another user, with caches of its own. The
// modules come from the cache of this user, by HTTP: a stranger cannot read it.
func (c *conditions) asNobody(ctx context.Context, dir string) error {
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(filepath.Join(strings.TrimSpace(string(modules)), "cache", "download"))), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()            // until it is closed
	context.AfterFunc(ctx, func() { _ = server.Close() }) // with this program
	c.user = &syscall.Credential{Uid: nobody, Gid: nobody}
	c.about = fmt.Sprintf("user %d with Go caches of its own, ", nobody) + c.about
	// The last of a name counts.
	c.env = append(c.env, "GOCACHE="+filepath.Join(dir, "go-build"), "GOMODCACHE="+filepath.Join(dir, "modules"), "GOPATH="+filepath.Join(dir, "go"),
		"GOPROXY=http://"+listener.Addr().String(), "GOSUMDB=off")
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	})
}

// images compiles the images program and runs it under the conditions. The program
// itself is compiled as go does by itself: with what go env -w has changed, all that
// it imports would be compiled once more.
func (c conditions) images(ctx context.Context, args ...string) error {
	log, err := os.Create(c.out + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	shell := append([]string{"sh", "-c", "umask " + c.umask + ` && cd "$0" && GOENV=off go build -o "$1" ./images/main && exec "$@"`, c.checkout, c.out + ".images"}, args...)
	if c.at.IsZero() {
		cmd := exec.CommandContext(ctx, "/bin/sh", shell[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.user}
		err = cmd.Run()
	} else {
		err = wallclock.Run(ctx, wallclock.Command{Path: "/bin/sh", Args: shell, Env: c.env, Output: log, User: c.user}, c.at)
	}
	if err == nil {
		return nil
	}
	said, readErr := os.ReadFile(log.Name())
	return errors.Join(fmt.Errorf("building in %s: %w\n%s", c.checkout, err, said[max(0, len(said)-4000):]), readErr)
}
