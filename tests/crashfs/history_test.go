package crashfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
)

// asChild, in the environment, makes this program the process that runs the
// history in a folder: its library maps the file into memory, and a fault in a
// file of this process's own file system would stop the process that is to answer.
const asChild = "PHASE_CRASHFS_HISTORY"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == history.CheckCommand {
		os.Exit(history.CheckMain(os.Args[2], os.Stderr))
	}
	if dir := os.Getenv(asChild); dir != "" {
		if err := runHistory(dir, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runsKept is how many runs the scenario has.
const runsKept = 6

var historyLimits = history.Limits{Runs: 100, Bytes: 1 << 20, Nonces: 100}

func run(n int) history.Entry {
	at := time.Unix(int64(n), 0).UTC()
	outcome, code := job.Exited, uint32(0)
	return history.Entry{
		Run: history.Run{RunID: fmt.Sprintf("%032x", n), JobID: "j", Requester: "r", State: history.Done, Queued: at, Started: &at, Finished: &at,
			Outcome: &outcome, ExitCode: &code},
		Job: []byte("{}"), Receipt: fmt.Appendf(nil, `{"of":%d,"text":%q}`, n, text(n)),
	}
}

// runHistory ends some runs, promises each to output, and waits until input says
// that the promise is noted.
func runHistory(dir string, input io.Reader, output io.Writer) error {
	h, err := history.Open(filepath.Join(dir, history.File), historyLimits)
	if err != nil {
		return err
	}
	noted := bufio.NewReader(input)
	for n := range runsKept {
		e := run(n)
		e.State, e.Started, e.Finished, e.Outcome, e.ExitCode, e.Receipt = history.Queued, nil, nil, nil, nil, nil
		if err := h.Begin(e, binary.BigEndian.AppendUint64(make([]byte, 8), uint64(n))); err != nil {
			return err
		}
		if err := h.End(run(n)); err != nil {
			return err
		}
		fmt.Fprintln(output, e.RunID)
		if _, err := noted.ReadString('\n'); err != nil {
			return err
		}
	}
	return h.Close()
}

// keepingRuns is the history of a daemon: a run is on the disk before its receipt
// is handed out.
func keepingRuns() Scenario {
	return Scenario{
		Name: "compute/history",
		Slow: true, // it has another process check the file first
		Run: func(dir string, promise func(string)) error {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env, cmd.Stderr = append(os.Environ(), asChild+"="+dir), os.Stderr
			input, e1 := cmd.StdinPipe()
			output, e2 := cmd.StdoutPipe()
			if err := errors.Join(e1, e2, cmd.Start()); err != nil {
				return err
			}
			for lines := bufio.NewScanner(output); lines.Scan(); {
				promise(lines.Text())
				fmt.Fprintln(input)
			}
			return cmd.Wait()
		},
		Check: func(dir string, promised []string) error {
			h, err := history.Open(filepath.Join(dir, history.File), historyLimits)
			if errors.Is(err, history.ErrDamaged) && len(promised) == 0 {
				return nil // it was being made; plasmd puts it aside and makes another
			}
			if err != nil {
				return err
			}
			defer h.Close()
			for n := range promised {
				e, err := h.Get(run(n).RunID)
				if err != nil || e.State != history.Done || string(e.Receipt) != string(run(n).Receipt) {
					return fmt.Errorf("run %d of %d: %s, receipt %.40q, %w", n, len(promised), e.State, e.Receipt, err)
				}
			}
			return nil
		},
	}
}
