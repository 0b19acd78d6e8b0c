package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"phase/appliance/compute/sandbox"
)

// File is the name of the worker's own program, which lies beside the one that
// starts it.
const File = "phase-worker"

// Build is the build id of that file (go tool buildid), which is the SHA-256 of
// what it is made of. The linker sets both (-X
// phase/appliance/compute/worker.Build=…), so no worker of another build is ever
// started. A program built without it starts itself as its worker (see Command).
var Build string

// executable is what a worker process runs.
type executable struct {
	path string
	args []string
}

// chosen is the worker's own program where it is there, and else this one: both
// run package inside. It is looked for once.
var chosen = sync.OnceValue(func() executable {
	if Build != "" {
		own, err := os.Executable()
		if err == nil {
			var path string
			if path, err = open(filepath.Join(filepath.Dir(own), File), Build); err == nil {
				return executable{path, []string{File}}
			}
		}
		slog.Warn("jobs start slower: workers run "+filepath.Base(own)+" itself, as their own program cannot be used; build both at once (make build)", "error", err)
	}
	return executable{"/proc/self/exe", []string{"plasmd", Command}}
})

// idWithin is where the linker puts the build id: in the first bytes of a file.
const idWithin = 4096

// open opens a program of a build, for the rest of this process's life, and
// returns a path by which only this very file is started.
func open(path, build string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, idWithin)
	if n, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("reading %s: %w", path, err)
	} else if !bytes.Contains(head[:n], []byte(build)) {
		return "", fmt.Errorf("%s is of another build than this program", path)
	}
	if info, err := f.Stat(); err != nil || info.Mode()&0o111 == 0 {
		return "", errors.Join(fmt.Errorf("%s is not executable", path), err)
	}
	return sandbox.Pin(f)
}
