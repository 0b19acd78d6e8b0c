// Package scripts tests the programs as a person types them: each *.txtar file
// is a script (github.com/rogpeppe/go-internal/testscript) of commands, and of
// what they print and end with. The programs are the ones that are built, in
// processes of their own.
//
// Besides the commands of testscript a script has
//
//	exits CODE PROGRAM ARGS…           the program ends with this exit code
//	starts NAME REGEXP PROGRAM ARGS…   the program runs on; once a line of its
//	                                   error output matches, NAME is the group.
//	                                   The output is in the file NAME.log
//	stops                              it ends on SIGTERM, with code 0
//	captures NAME REGEXP               NAME is the group, in the last output
//
// and the variables $BIN, $MODULES, $RELEASES and $PIECES, folders of programs, modules, releases
// and of what an arm64 release is assembled from, and $STRANGER, the peer id of a node that signed nothing here. The condition
// [alone] says that no other machine is on the network.
package scripts

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"phase/appliance/base/identity"
	"phase/appliance/compute/worker"
	"phase/tests/netlab"
)

// folders are the variables that name a person's folders below HOME.
var folders = []string{"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"}

// TestScripts runs all scripts in a network of their own, which is the loopback
// alone.
func TestScripts(t *testing.T) {
	lookAtSources(t)
	if os.Geteuid() == 0 && !netlab.Isolated(t) {
		return
	}
	dir, err := os.MkdirTemp("", "phase-scripts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "bin")
	build(t, bin)
	modules(t, filepath.Join(dir, "modules"))
	pieces(t, filepath.Join(dir, "pieces"))
	alone := os.Geteuid() == 0
	if alone {
		netlab.BecomeNobody(t, dir)
	}
	releases(t, filepath.Join(dir, "releases"))
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", work)
	testscript.Run(t, testscript.Params{
		Dir:  ".",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "starts": starts, "stops": stops, "captures": captures},
		Condition: func(name string) (bool, error) {
			if name != "alone" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return alone, nil
		},
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			for _, name := range folders {
				env.Setenv(name, filepath.Join(home, name))
			}
			env.Values[background{}] = new([]started)
			env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			stranger, err := identity.Ephemeral(rand.Reader)
			if err != nil {
				return err
			}
			env.Setenv("STRANGER", stranger.PeerID())
			env.Setenv("BIN", bin)
			env.Setenv("MODULES", filepath.Join(dir, "modules"))
			env.Setenv("RELEASES", filepath.Join(dir, "releases"))
			env.Setenv("PIECES", filepath.Join(dir, "pieces"))
			// The path of a socket has room for 107 bytes.
			run := filepath.Join(dir, "run", filepath.Base(env.WorkDir))
			env.Setenv("XDG_RUNTIME_DIR", run)
			return os.MkdirAll(run, 0o700)
		},
	})
}

// lookAtSources has the test cache see what the programs are made of: it knows
// the folders this process reads, not what go build does.
func lookAtSources(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"appliance", "programs", "images", "kernel"} {
		err := filepath.WalkDir("../../"+dir, func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// build makes the programs as `make build` does: one binary, a link a name, and the
// worker.
func build(t *testing.T, bin string) {
	t.Helper()
	run := func(args ...string) {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v: %s", args, err, out)
		}
	}
	const id = "phase-worker-of-the-scripts"
	run("build", "-ldflags=-buildid="+id, "-o", filepath.Join(bin, worker.File), "phase/programs/"+worker.File)
	run("build", "-ldflags=-X phase/appliance/compute/worker.Build="+id, "-o", filepath.Join(bin, "phase"), "phase/programs/phase")
	run("build", "-o", filepath.Join(bin, "images"), "phase/images/main")
	folders, err := os.ReadDir("../../programs")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if f.IsDir() && f.Name() != "phase" && f.Name() != worker.File {
			if err := os.Symlink("phase", filepath.Join(bin, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// background is the key of what a script has started: *[]started, the last one
// last.
type background struct{}

type started struct {
	cmd   *exec.Cmd
	ended chan error
}

func starts(ts *testscript.TestScript, neg bool, args []string) {
	then := ""
	if len(args) > 4 && args[2] == "then" {
		then, args = args[3], slices.Delete(slices.Clone(args), 2, 4)
	}
	if neg || len(args) < 3 {
		ts.Fatalf("usage: starts NAME REGEXP [then REGEXP] PROGRAM ARGS…")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	ready, err := regexp.Compile(then)
	ts.Check(err)
	cmd := exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], args[2]), args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range append(folders, "XDG_RUNTIME_DIR", "HOME") {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	log, err := os.Create(ts.MkAbs(args[0] + ".log"))
	ts.Check(err)
	said, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	p := started{cmd, make(chan error, 1)}
	found := make(chan string, 1)
	go func() {
		defer log.Close()
		var value []string
		told := false
		for lines := bufio.NewScanner(io.TeeReader(said, log)); lines.Scan(); {
			if value == nil {
				value = pattern.FindStringSubmatch(lines.Text())
			}
			if value != nil && !told && ready.MatchString(lines.Text()) {
				told = true
				found <- value[len(value)-1]
			}
		}
		close(found)
		p.ended <- cmd.Wait()
	}()
	value, ok := <-found
	if !ok {
		ts.Fatalf("it ended without a line that matches %s: %v", pattern, <-p.ended)
	}
	ts.Setenv(args[0], value)
	ts.Defer(func() { _ = cmd.Process.Kill() }) // unless stops has ended it
	all := ts.Value(background{}).(*[]started)
	*all = append(*all, p)
}

func stops(ts *testscript.TestScript, neg bool, args []string) {
	all := ts.Value(background{}).(*[]started)
	if neg || len(args) > 0 || len(*all) == 0 {
		ts.Fatalf("usage: stops, after starts")
	}
	p := (*all)[len(*all)-1]
	*all = (*all)[:len(*all)-1]
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(<-p.ended)
}

func captures(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: captures NAME REGEXP")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	m := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("nothing in the output matches %s", args[1])
	}
	ts.Setenv(args[0], m[len(m)-1])
}
