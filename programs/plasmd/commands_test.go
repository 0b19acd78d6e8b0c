package plasmd

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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

// What the commands print and end with is in tests/scripts.

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
