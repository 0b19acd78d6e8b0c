package plasmd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/base/keypem"
	"phase/appliance/base/program"
	"phase/appliance/compute/history"
	"phase/appliance/compute/worker"
)

// A run starts this binary again as its worker; TestMain makes it plasmd then.
// asDaemon is the variable that makes this binary plasmd.
const asDaemon = "PHASE_TEST_PLASMD"

// asUser is the variable that makes it that of a user with folders of his own.
const asUser = "PHASE_TEST_USER"

func TestMain(m *testing.M) {
	if os.Getenv(asUser) != "" {
		effectiveUser = func() int { return 1000 }
	}
	if len(os.Args) > 1 && (os.Args[1] == worker.Command || os.Args[1] == history.CheckCommand) || os.Getenv(asDaemon) != "" {
		os.Exit(program.Invoke("plasmd", Run, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// call runs plasmd with arguments and returns its exit code and output.
func call(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	err := Run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	code, print := program.Code(err)
	if print {
		errs.WriteString("plasmd: " + err.Error() + "\n")
	}
	return code, out.String(), errs.String()
}

// module builds examples/hello into a folder of the test's.
func module(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hello.wasm")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "phase/examples/hello")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the example: %v: %s", err, out)
	}
	return file
}

// After -- comes the module, whatever its name; arguments are any bytes.
func TestRunTakesNamesAsTheyAre(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"-x.wasm", "\xff.wasm"} {
		if err := os.WriteFile(name, leastModule, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := call(t, "", "run", "--", name, "--", "\xff"); code != 0 {
			t.Errorf("%q: %d %q", name, code, errs)
		}
	}
}

// A receipt cannot say what was asked where that is no text, and one that
// cannot be written is known before anything runs and spoils none that is
// there.
func TestReceiptThatCannotBe(t *testing.T) {
	hello, dir := module(t), t.TempDir()
	home(t, dir)
	file := filepath.Join(dir, "receipt.json")
	if err := os.WriteFile(file, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--receipt", file, hello, "\xff"},
		{"--receipt", file, "--env", "A=\xff", hello},
		{"--receipt", filepath.Join(dir, "none", "r.json"), hello},
		{"--receipt", file, "--dir", "/does/not/exist", hello},
	} {
		if code, out, _ := call(t, "abc\n", append([]string{"run"}, args...)...); code != 1 || out != "" {
			t.Errorf("%q: %d %q", args, code, out)
		}
	}
	if code, _, errs := call(t, "", "execute-job", hello, "\xff"); code != 1 || !strings.Contains(errs, "args: argument 1 is not UTF-8") {
		t.Errorf("execute-job: %d %q", code, errs)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "another" {
		t.Errorf("what was there is %q, %v", data, err)
	}
	if list, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || list != nil {
		t.Errorf("left behind: %q, %v", list, err)
	}
	if code, _, errs := call(t, "abc\n", "run", "--receipt", file, hello); code != 0 || errs != "" {
		t.Errorf("over another receipt: %d %q", code, errs)
	}
	if data, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(data), `{"payloadType"`) {
		t.Errorf("the receipt is %.40q, %v", data, err)
	}
	// What is no file is written to as it is.
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ends, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ends.Close()
	if code, _, errs := call(t, "abc\n", "run", "--receipt", pipe, hello); code != 0 {
		t.Errorf("a pipe: %d %q", code, errs)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Fatalf("the pipe was replaced: %v", err)
	}
	text := make([]byte, 14)
	if _, err := io.ReadFull(ends, text); err != nil || string(text) != `{"payloadType"` {
		t.Errorf("the pipe holds %q, %v", text, err)
	}
}

// Output that does not arrive is an error, unless it is the reader who left; and
// either way there is a receipt of what the module wrote.
func TestReceiptOfOutputThatIsLost(t *testing.T) {
	hello, dir := module(t), t.TempDir()
	id := home(t, dir)
	file := filepath.Join(dir, "receipt.json")
	for _, c := range []struct {
		name, says string
		stdout     func() (*os.File, error)
	}{
		{"a full disk", "no space left", func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) }},
		{"nobody reads", "", func() (*os.File, error) {
			r, w, err := os.Pipe()
			return w, errors.Join(err, r.Close())
		}},
	} {
		stdout, err := c.stdout()
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		run := exec.Command(os.Args[0], "run", "--receipt", file, hello)
		// The user who runs this has folders of their own, root or not.
		run.Env = append(os.Environ(), asDaemon+"=1", asUser+"=1", "XDG_CACHE_HOME="+dir)
		run.Stdin, run.Stdout, run.Stderr = strings.NewReader("abc\n"), stdout, &errs
		ended := run.Run()
		stdout.Close()
		if status := run.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() || (c.says != "") != (status.ExitStatus() == 1 && strings.Contains(errs.String(), c.says)) {
			t.Errorf("%s: %v, %s", c.name, ended, &errs)
		}
		out := strings.NewReader("cba\n")
		if err := Run(t.Context(), []string{"receipt", "verify", "--key", id.PeerID(), "--stdout", "-", file}, out, io.Discard, io.Discard); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
}

func TestReceiptOfARun(t *testing.T) {
	hello, dir := module(t), t.TempDir()
	id := home(t, dir)
	file, out := filepath.Join(dir, "receipt.json"), filepath.Join(dir, "out")
	code, stdout, errs := call(t, "abc\n", "run", "--receipt", file, "--env", "A=1", hello, "--env", "x")
	if code != 0 || stdout != "cba\n" {
		t.Fatalf("run: %d %q %q", code, stdout, errs)
	}
	public, err := keypem.EncodePublic(id.Public())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key.pem")
	for name, data := range map[string][]byte{key: public, out: []byte(stdout)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, args, stdin string
		code              int
	}{
		{"peer id", "--key " + id.PeerID() + " --stdout " + out + " --stderr /dev/null " + file, "", 0},
		{"key file", "--key " + key + " " + file, "", 0},
		{"standard input", "--key " + id.PeerID() + " -", string(signed), 0},
		{"output on standard input", "--key " + id.PeerID() + " --stdout - " + file, stdout, 0},
		{"another output", "--key " + id.PeerID() + " --stdout - " + file, "other", 1},
		{"another error output", "--key " + id.PeerID() + " --stderr - " + file, "other", 1},
		{"another node", "--key " + stranger.PeerID() + " " + file, "", 1},
		{"the run is no job", "--key " + id.PeerID() + " --job " + out + " " + file, "", 1},
		{"no receipt", "--key " + id.PeerID() + " " + out, "", 1},
		{"no key", file, "", 2},
		{"no such key", "--key nobody " + file, "", 1},
		{"input twice", "--key " + id.PeerID() + " --stdout - -", "", 2},
		{"a job that is not named", "--key " + id.PeerID() + " --job= " + file, "", 2},
		{"an output that is not named", "--key " + id.PeerID() + " --stdout= " + file, "", 2},
	} {
		if code, _, errs := call(t, c.stdin, strings.Fields("receipt verify "+c.args)...); code != c.code {
			t.Errorf("%s: %d %q, want %d", c.name, code, errs, c.code)
		}
	}
	for args, ok := range map[string]bool{id.PeerID(): true, stranger.PeerID(): false, "nobody": false} {
		code, text, _ := call(t, "", "receipt", "verify", "--json", "--key", args, file)
		var v verdict
		if err := json.Unmarshal([]byte(text), &v); err != nil || v.OK != ok || (code == 0) != ok || ok != (v.Statement != nil) {
			t.Errorf("--json: %d %s: %v", code, text, err)
		}
	}
}

// home has runs sign with an identity below dir. Root's is in /var/lib, which a
// test has no business in: there the test needs a user of its own.
func home(t *testing.T, dir string) identity.Identity {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", dir)
	old := effectiveUser
	effectiveUser = func() int { return 1000 }
	t.Cleanup(func() { effectiveUser = old })
	id, err := laptopIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestCancelledRun(t *testing.T) {
	hello := module(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe() // an input that never comes
	defer w.Close()
	cancel()
	err := Run(ctx, []string{"run", hello}, r, io.Discard, io.Discard)
	if code, _ := program.Code(err); code != 130 {
		t.Errorf("cancelled: %v", err)
	}
}

func TestParseFolder(t *testing.T) {
	for text, want := range map[string]worker.Folder{
		"/data":       {Host: "/data", Guest: "/data"},
		"data":        {Host: "data", Guest: "data"},
		"data:/in":    {Host: "data", Guest: "/in"},
		"data:.":      {Host: "data", Guest: "."},
		"data:/in:ro": {Host: "data", Guest: "/in", ReadOnly: true},
		"/data::ro":   {Host: "/data", Guest: "/data", ReadOnly: true},
		".":           {Host: ".", Guest: "/"},
		"./::ro":      {Host: "./", Guest: "/", ReadOnly: true},
		".:.":         {Host: ".", Guest: "."},
		"":            {},
		":/in":        {},
		"data:/in:rw": {},
		"a:b:ro:more": {},
	} {
		got, err := parseFolder(text)
		if got != want || (err != nil) != (want.Host == "") {
			t.Errorf("--dir %s: %+v, %v", text, got, err)
		}
	}
}
