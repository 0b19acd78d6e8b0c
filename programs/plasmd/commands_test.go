package plasmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/daemon/api"
)

// command runs plasmd with the user's folders in dir.
func command(t *testing.T, stdin string, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	err = Run(t.Context(), args, strings.NewReader(stdin), &out, io.Discard)
	return out.String(), err
}

// user makes this process that of a user with folders of his own.
func user(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, filepath.Join(dir, name))
	}
	was := effectiveUser
	effectiveUser = func() int { return 1000 }
	t.Cleanup(func() { effectiveUser = was })
	return dir
}

func TestExecuteJobAndWhatTheDaemonKnows(t *testing.T) {
	dir := user(t)
	module := filepath.Join(dir, "least.wasm")
	if err := os.WriteFile(module, leastModule, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(where string) (runID string) {
		text, err := command(t, "input", "execute-job", "--memory", "1", "--env", "K=V", module, "--flag", "of the module's")
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		var object struct {
			RunID        string          `json:"run_id"`
			Outcome      string          `json:"outcome"`
			StdoutBase64 *[]byte         `json:"stdout_base64"`
			Receipt      json.RawMessage `json:"receipt"`
		}
		if err := json.Unmarshal([]byte(text), &object); err != nil || object.Outcome != "exited" || object.StdoutBase64 == nil || object.Receipt[0] != '{' {
			t.Errorf("%s: %s, %v", where, text, err)
		}
		return object.RunID
	}
	check("without a daemon")
	if kept, err := filepath.Glob(filepath.Join(dir, "XDG_CACHE_HOME", "phase", "modules", "*")); len(kept) != 1 {
		t.Errorf("compiled code is kept in %v, %v; want one file", kept, err)
	}
	for _, args := range [][]string{{"jobs"}, {"logs"}} {
		if _, err := command(t, "", args...); !errors.Is(err, api.ErrNoDaemon) {
			t.Errorf("%v without a daemon: %v", args, err)
		}
	}
	if text, err := command(t, "", "version"); err != nil || strings.Contains(text, "daemon") {
		t.Errorf("version without a daemon: %q, %v", text, err)
	}
	if text, err := command(t, "", "version", "--json"); err != nil || !strings.Contains(text, `"arch": "`+names.RunningArch()+`"`) {
		t.Errorf("version --json without a daemon: %q, %v", text, err)
	}
	c, stop := run(t, "start", "--state", dir)
	c.wait(t, `^listening on (.*)$`)
	runID := check("with a daemon")
	for words, says := range map[string]string{
		"jobs":                 runID + "  done   exited",
		"jobs --json":          `"run_id": "` + runID,
		"jobs " + runID:        "exited",
		"jobs --json " + runID: `"payloadType"`,
		"logs":                 "run=" + runID,
		"logs -n 1 --json":     `"text"`,
		"version":              "daemon " + program.Version,
		"version --json":       `"peer_id"`,
	} {
		if text, err := command(t, "", strings.Fields(words)...); err != nil || !strings.Contains(text, says) {
			t.Errorf("%s: %q, %v; want %q", words, text, err, says)
		}
	}
	for words, code := range map[string]int{
		"jobs --cancel " + runID: 1, "jobs --cancel": 2, "jobs -n 0": 2, "logs -n 1001": 2, "jobs nobody": 1,
		"execute-job --cpu 65 " + module: 2, "execute-job --memory 0 " + module: 2, "execute-job --timeout 2h " + module: 2,
		"execute-job --env K " + module: 2, "execute-job": 2, "execute-job " + dir + "/none.wasm": 1, "start --state " + dir: 1,
		"execute-job --memory 4096 --cpu 64 " + module: 1,
	} {
		_, err := command(t, "", strings.Fields(words)...)
		if got, _ := program.Code(err); got != code {
			t.Errorf("%s: %v, want the code %d", words, err, code)
		}
	}
	if text := c.wait(t, `(?s)\A(.*)\z`); strings.Contains(text, "token ") {
		t.Error("a token that opens nothing was printed")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestInit(t *testing.T) {
	dir := user(t)
	path := filepath.Join(dir, "XDG_CONFIG_HOME", "phase", "plasmd.toml")
	if text, err := command(t, "", "init"); err != nil || text != "wrote "+path+"\n" {
		t.Errorf("%q, %v", text, err)
	}
	_, err := command(t, "", "init")
	if code, _ := program.Code(err); code != 1 || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second time: %v", err)
	}
	other := filepath.Join(dir, "new", "c.toml")
	if _, err := command(t, "", "init", "--path", other); err != nil {
		t.Error(err)
	}
	for text, says := range map[string]string{"[jobs]\ncoers = 1": "jobs.coers", "[jobs]\ncores = 1024": "jobs.cores: 1024", "http = 3": "http"} {
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := command(t, "", "start", "--config", other, "--state", dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a shell loads is what that shell takes.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text, err := command(t, "", "completion", shell)
		if err != nil || !strings.Contains(text, "execute-job") || !strings.Contains(text, "memory") {
			t.Errorf("%s: %v", shell, err)
		}
		if strings.Contains(text, "-a  ") || strings.Contains(text, `=" `) {
			t.Errorf("%s has a word that is empty: %s", shell, text)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not here to read it", shell)
			continue
		}
		check := exec.Command(path, "-n")
		check.Stdin = strings.NewReader(text)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not here")
	}
	text, _ := command(t, "", "completion", "bash")
	for words, want := range map[string]string{
		"plasmd exec": "execute-job", "plasmd receipt v": "verify", "plasmd receipt verify --j": "--job --json", "plasmd jobs --js": "--json",
		"plasmd provider list --js": "--json", "plasmd completion ''": "bash zsh fish --help --version", "plasmd completion z": "zsh",
		"plasmd run --memory 5 --t": "--timeout", "plasmd logs --h": "--help", "plasmd --v": "--version", "plasmd nothing": "", "plasmd run x": "",
	} {
		list := strings.Fields(words)
		script := text + fmt.Sprintf("\nCOMP_WORDS=(%s); COMP_CWORD=%d; _plasmd; echo \"${COMPREPLY[*]}\"", words, len(list)-1)
		shell := exec.Command(bash, "-c", script)
		shell.Env = append(os.Environ(), "LC_ALL=C") // it warns of a locale that is not installed
		out, err := shell.CombinedOutput()
		if err != nil || string(out) != want+"\n" {
			t.Errorf("%s: %q, %v; want %q", words, out, err, want)
		}
	}
	if _, err := command(t, "", "completion", "csh"); err == nil {
		t.Error("a shell that has none")
	}
}

// Who has learnt -j with one command has learnt it for all.
func TestJSONHasOneShortName(t *testing.T) {
	for _, words := range []string{"init", "execute-job", "jobs", "logs", "receipt verify", "provider status", "provider list", "version"} {
		// Help ends a program without a failure; its words are what counts.
		text, _ := command(t, "", append(strings.Fields(words), "--help")...)
		if !strings.Contains(text, "-j, --json") {
			t.Errorf("%s: %s", words, text)
		}
	}
}
