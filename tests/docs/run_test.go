package docs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"phase/tests/netlab"
)

// patience is how long the commands of a page may take. It bounds a hung test; it is
// no statement about speed.
const patience = 5 * time.Minute

// TestCommands runs the commands of the pages as a person would who has built a
// checkout: in a folder with what `make build examples image` leaves, on a network of
// their own, as a user without rights. All blocks of a page with one name are one
// script, and it ends at the first command that fails.
func TestCommands(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	for _, name := range []string{"bash", "curl", "openssl", "php", "qemu-img"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("PHASE_REQUIRE") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	dir, err := os.MkdirTemp("", "pages-") // of the test's name a socket's path would be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	furnish(t, dir)
	netlab.BecomeNobody(t, dir)
	grant(t, dir)
	scripts := map[string]string{}
	for page, text := range pagesOf(t) {
		if !decision(page) {
			maps.Copy(scripts, scriptsOf(page, text))
		}
	}
	if len(scripts) < 3 {
		t.Fatalf("only %d scripts were read", len(scripts))
	}
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		t.Run(name, func(t *testing.T) {
			if out, err := perform(dir, scripts[name]); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// unseen is what is run between the blocks of a page and not shown.
var unseen = regexp.MustCompile(`(?ms)^<!-- setup ([a-z-]+):\n(.*?)^-->$`)

// scriptsOf are the commands of a page that are run, by the name of the page and of
// the blocks.
func scriptsOf(page, text string) map[string]string {
	scripts := map[string]string{}
	text = unseen.ReplaceAllString(text, "<!-- shell: run $1 -->\n```sh\n$2```") // as long as it was
	for i, b := range blocks(page, text) {
		if b.lang != commandsOfShell {
			continue
		}
		commands := regexp.MustCompile(`(?m)^[a-z]+\$ +`).ReplaceAllString(b.text, "") // who types it
		at := fmt.Sprintf("echo '=== %s:%d' >&2\n", b.page, b.line)
		if m := runs.FindStringSubmatch(b.mark); m != nil {
			scripts[page+" "+m[2]] += at + commands
		}
		if m := starts.FindStringSubmatch(b.mark); m != nil {
			scripts[page+" "+m[2]] += at + fmt.Sprintf("until_says %d '%s' <<'END OF BLOCK'\n%sEND OF BLOCK\n", i, m[3], commands)
		}
	}
	return scripts
}

// opening is before each script. What is started goes on in the background, and its
// lines are looked at as they come.
const opening = `set -euo pipefail
until_says() { # NUMBER PATTERN, commands on standard input
	cat >"started-$1"
	: >"started-$1.log"
	bash -euo pipefail "started-$1" >"started-$1.log" 2>&1 </dev/null &
	grep -Eqm1 "$2" < <(tail -n +1 -f --pid=$! "started-$1.log") || { cat "started-$1.log" >&2; echo "it never said $2" >&2; return 1; }
}
set -x
`

// perform runs a script in a new copy of the folder, and ends what it has started.
func perform(dir, script string) ([]byte, error) {
	here, err := os.MkdirTemp(dir, "at-")
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(dir, "checkout")+"/.", here).CombinedOutput(); err != nil {
		return out, err
	}
	run := filepath.Join(here, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	said, err := os.Create(filepath.Join(here, "said"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	bash := exec.CommandContext(ctx, "bash", "-c", opening+script)
	bash.Dir, bash.Stdout, bash.Stderr = here, said, said
	bash.Env = []string{"HOME=" + here, "XDG_RUNTIME_DIR=" + run, "USER=nobody", "LANG=C.UTF-8",
		"PATH=" + filepath.Join(dir, "shims") + ":" + filepath.Join(dir, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin"}
	bash.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	group := func() error { return syscall.Kill(-bash.Process.Pid, syscall.SIGKILL) }
	bash.Cancel = group
	err = bash.Run()
	if killed := group(); killed != nil && !errors.Is(killed, syscall.ESRCH) {
		err = errors.Join(err, killed)
	}
	out, readErr := os.ReadFile(said.Name())
	return out, errors.Join(err, readErr)
}

// grant gives what was furnished to who this process has become: copies of it.
func grant(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("cp", "-r", "--preserve=mode,links", filepath.Join(dir, "furnished"), filepath.Join(dir, "checkout")).CombinedOutput()
	if err == nil {
		err = filepath.WalkDir(filepath.Join(dir, "checkout"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&fs.ModeSymlink != 0 {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if filepath.Ext(path) == ".pem" { // a key is for its owner alone
				return os.Chmod(path, 0o600)
			}
			return os.Chmod(path, info.Mode()|0o600)
		})
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
