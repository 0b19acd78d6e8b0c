package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"phase/appliance/base/ui"
	"phase/appliance/compute/sandbox"
)

// CheckCommand is the first argument that makes plasmd the process that checks
// a history; the second is its path. Its whole life is CheckMain then.
const CheckCommand = "check-history"

// What checking may take: a history of 64 MiB takes a second. It is time of the
// processor: on a machine with much else to do a history is not damaged.
const (
	checkTime   = 30 * time.Second
	checkWait   = 10        // times as long in all, for a disk that is slow
	checkSpeed  = 8 << 20   // bytes a second, beyond that
	checkMemory = 512 << 20 // bytes, without the race detector
	checkStack  = 64 << 20  // bytes; pages that name one another fill it
	exitInUse   = 75        // the exit code of a check that another plasmd kept from the file
)

// check has a process of its own read all of a database. The library believes
// what it opens, so a damaged file may have it read for ever, fault, or take all
// memory: there it does no harm. The error wraps ErrInUse or ErrDamaged where it
// is that; no file, or an empty one, is no error.
func check(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	// What this user may not open is not damaged.
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	var said bytes.Buffer
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"plasmd", CheckCommand, path}, Stderr: &said}
	ended, err := sandbox.Start(cmd, nil)
	if err != nil {
		return fmt.Errorf("checking it: %w", &fs.PathError{Op: "start", Path: cmd.Path, Err: err})
	}
	limit := checkLimit(info.Size())
	select {
	case err = <-ended:
	case <-time.After(checkWait * limit):
		_ = cmd.Process.Kill() // fails only when it has ended
		<-ended
		return fmt.Errorf("%w: reading it takes more than %v", ErrDamaged, checkWait*limit)
	}
	if err == nil {
		return nil
	}
	if cmd.ProcessState.ExitCode() == exitInUse {
		return ErrInUse
	}
	// The kernel counts ticks, so it may be killed somewhat before.
	if cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime() >= limit/2 {
		return fmt.Errorf("%w: reading it takes more than %v of the processor", ErrDamaged, limit)
	}
	why, _, _ := strings.Cut(said.String(), "\n")
	return fmt.Errorf("%w: %s (%w)", ErrDamaged, ui.Clean(why), err)
}

// checkLimit is the processor's time that a file of size bytes may take.
func checkLimit(size int64) time.Duration {
	return checkTime + time.Duration(size/checkSpeed)*time.Second
}

// CheckMain checks the history in a file, and returns the exit code of the
// process: 0 where it may be opened. What is wrong is written to stderr.
func CheckMain(path string, stderr io.Writer) int {
	debug.SetMaxStack(checkStack)
	info, err := os.Stat(path)
	if err == nil {
		err = errors.Join(sandbox.LimitData(sandbox.WithDetector(checkMemory)), sandbox.LimitTime(checkLimit(info.Size())))
	}
	if err == nil {
		err = checkFile(path)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, bolterrors.ErrTimeout):
		return exitInUse
	}
	fmt.Fprintln(stderr, err)
	return 1
}

// checkFile reads all of a database. It is left open where something is wrong:
// the process ends.
func checkFile(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: lockTime})
	if err != nil {
		return err
	}
	return db.View(func(tx *bbolt.Tx) error {
		if err := checkOverflow(tx); err != nil {
			return err
		}
		for problem := range tx.Check() {
			return problem
		}
		return checkValues(tx)
	})
}

// checkOverflow checks what the library does not: the pages that a page runs
// over into are there, and not free.
func checkOverflow(tx *bbolt.Tx) error {
	pages := int(tx.Size()) / tx.DB().Info().PageSize
	for id := 2; ; id++ {
		page, err := tx.Page(id)
		if err != nil || page == nil {
			return err
		}
		if page.Type == "free" {
			continue
		}
		if page.OverflowCount >= pages-id {
			return fmt.Errorf("page %d runs over the end", id)
		}
		for range page.OverflowCount {
			id++
			if next, err := tx.Page(id); err != nil || next == nil || next.Type == "free" {
				return errors.Join(fmt.Errorf("page %d runs over into a page that is not its own", page.ID), err)
			}
		}
	}
}

// checkValues reads every record.
func checkValues(tx *bbolt.Tx) error {
	const anyLength = -1
	for _, b := range []struct {
		name       []byte
		key, value int // bytes
	}{
		{bucketRuns, numberBytes, anyLength}, {bucketIDs, anyLength, numberBytes}, {bucketOpen, numberBytes, 0},
		{bucketNonces, nonceBytes, numberBytes}, {bucketOrder, numberBytes, nonceBytes},
	} {
		bucket := tx.Bucket(b.name)
		if bucket == nil { // the first daemon ended too early
			continue
		}
		err := bucket.ForEach(func(at, value []byte) error {
			if b.key != anyLength && len(at) != b.key || b.value != anyLength && len(value) != b.value {
				return fmt.Errorf("%s: a record of %d and %d bytes", b.name, len(at), len(value))
			}
			if b.value == anyLength {
				return json.Unmarshal(value, new(Entry))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
