package plasmd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"phase/appliance/base/statefile"
	"phase/appliance/compute/job"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/journal"
	"phase/appliance/daemon/support"
	"phase/appliance/machine/settings"
)

// plant writes a secret of its own, which it returns, into everything that a daemon
// with its folders in dir reads or keeps.
func plant(t *testing.T, dir string) (secrets map[string]string) {
	t.Helper()
	secrets = map[string]string{}
	secret := func(where string) string {
		// With nothing in it that a form of a secret would be known by.
		s := fmt.Sprintf("planted%02dzqxj", len(secrets))
		secrets[where] = s
		return s
	}
	data := filepath.Join(dir, "data")
	for name, text := range map[string]string{
		filepath.Join(data, "admin.pem"):     secret("a key of an admin"),
		filepath.Join(data, "notes.txt"):     secret("a file among those of the daemon"),
		filepath.Join(dir, "wifi.conf"):      secret("a file in the state folder"),
		filepath.Join(dir, "plasmd.toml"):    "# " + secret("a comment of the configuration") + "\nhttp = \"127.0.0.1:0\"\n[network]\nmode = \"off\"\n",
		filepath.Join(dir, "update", "keys"): secret("a file of another program"),
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options, err := json.Marshal(settings.Default())
	if err != nil {
		t.Fatal(err)
	}
	boot := statefile.Boot{
		Mode: "internet", Options: options, OptionsUnknown: []string{"phase.provider=http://me:" + secret("a password in an option") + "@192.0.2.1: want a URL without user"},
		Problems: []string{"asking http://192.0.2.1/?key=" + secret("a query in a problem"), "Authorization: Basic " + secret("a header in a problem")},
	}
	update := statefile.Update{State: "looking", History: []statefile.Attempt{{Provider: "http://you:" + secret("a password of a provider") + "@192.0.2.1", Result: "refused"}}}
	for name, write := range map[string]func() error{
		statefile.BootFile:   func() error { return statefile.Write(dir, statefile.BootFile, boot) },
		statefile.UpdateFile: func() error { return statefile.Write(statefile.UpdateFolder(dir), statefile.UpdateFile, update) },
	} {
		if err := write(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	t.Setenv("PHASE_TEST_SECRET", secret("the environment"))
	return secrets
}

// unpack returns the files of a bundle.
func unpack(t *testing.T, data []byte) (files map[string]string, names []string) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return files, names
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(h.Name, support.Folder+"/")
		files[name], names = string(text), append(names, name)
	}
}

// A support bundle holds what is listed, and no secret, wherever one was: key and
// token, the configuration, the environment, the files of other programs, jobs, and
// the log, in which the kernel has quoted the token.
func TestSupportBundle(t *testing.T) {
	dir := t.TempDir()
	secrets := plant(t, dir)
	kernel, in := records(t)
	p := daemonWith(t, dir, []*os.File{kernel}, "--config", filepath.Join(dir, "plasmd.toml"), "--kernel-log", "3", "--network", "off")
	kernel.Close()
	token, err := os.ReadFile(filepath.Join(dir, "data", "token"))
	if err != nil {
		t.Fatal(err)
	}
	secrets["the token"] = strings.TrimSpace(string(token))
	pem, err := os.ReadFile(filepath.Join(dir, "data", statefile.IdentityFile))
	if err != nil {
		t.Fatal(err)
	}
	secrets["the key"] = strings.Split(string(pem), "\n")[1]
	for n, line := range []string{
		"6,1,1,-;Command line: phase.provider=http://me:" + secrets["a password in an option"] + "@192.0.2.1",
		"29,2,2,-;plasmd: token " + secrets["the token"], "29,3,3,-;init: it is " + secrets["the token"],
		"29,4,4,-;update: GET http://x.example/?sig=" + secrets["a query in a problem"], "29,5,5,-;net: the last line",
	} {
		if _, err := in.WriteString(line + "\n"); err != nil {
			t.Fatal(n, err)
		}
	}
	enough := errors.New("enough")
	err = p.client.FollowLogs(t.Context(), api.LogQuery{Service: "net"}, func(journal.Line) error { return enough })
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	o := smallOffer(t, leastModule)
	j := job.Default(leastModule)
	j.MemoryMB = 1
	j.Env = map[string]string{"K": "plantedenvzqxj"}
	if o.Spec, err = job.New(j); err != nil {
		t.Fatal(err)
	}
	o.Stdin, o.Nonce = []byte("plantedstdinzqxj"), scheduler.NewNonce()
	secrets["the environment of a job"], secrets["the input of a job"] = "plantedenvzqxj", "plantedstdinzqxj"
	if _, err := p.client.Execute(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "out.tar.gz")
	if _, err := command(t, "", "support-bundle", "--socket", p.socket, path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := command(t, "", "support-bundle", "--socket", p.socket, path); err == nil {
		t.Error("a file was written over")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, names := unpack(t, data)
	want := []string{"version.json", "status.json", "metrics.txt", "options.json", "config.txt", "disks.json", "memory.txt", "load.txt", "log.txt", "kernel.txt", "contents.json"}
	if !slices.Equal(names, want) {
		t.Errorf("there are %q", names)
	}
	for where, secret := range secrets {
		for name, text := range files {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%s is in %s:\n%s", where, name, text)
			}
		}
	}
	for name, holds := range map[string]string{"status.json": "[removed]@192.0.2.1", "config.txt": "127.0.0.1:0", "log.txt": "the last line", "kernel.txt": "[removed]@192.0.2.1", "options.json": `"mode": "internet"`, "metrics.txt": "phase_"} {
		if !strings.Contains(files[name], holds) {
			t.Errorf("%s does not hold %s:\n%s", name, holds, files[name])
		}
	}
	p.stop(t)
}

// records is an open file that gives records as /dev/kmsg does, one a read, and the
// other end of it.
func records(t *testing.T) (read, write *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	read, write = os.NewFile(uintptr(fds[0]), "kmsg"), os.NewFile(uintptr(fds[1]), "kmsg")
	t.Cleanup(func() { write.Close() })
	return read, write
}

// Where no daemon runs, a bundle has what can be read without it, and says so.
func TestSupportBundleAlone(t *testing.T) {
	home := t.TempDir()
	for name, at := range map[string]string{"XDG_CONFIG_HOME": "conf", "XDG_DATA_HOME": "data", "XDG_RUNTIME_DIR": "run"} {
		t.Setenv(name, filepath.Join(home, at))
	}
	conf, err := configPath()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		t.Setenv("PATH", t.TempDir()) // this machine's service is not asked
	}
	out, err := command(t, "", "support-bundle", "--socket", filepath.Join(home, "none.sock"), "-")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := unpack(t, []byte(out))
	for name, holds := range map[string]string{"daemon.txt": "no plasmd listens there", "version.json": `"name": "plasmd"`, "memory.txt": "MemTotal", "load.txt": ".", "disks.json": "folders", "contents.json": "daemon.txt"} {
		if !strings.Contains(files[name], holds) {
			t.Errorf("%s does not hold %s:\n%s", name, holds, files[name])
		}
	}
	if _, err := os.Stat(conf); err != nil && !strings.Contains(files["contents.json"], "reading the configuration") {
		t.Errorf("nothing is said of the configuration that is not there:\n%s", files["contents.json"])
	}
	if _, err := command(t, "", "support-bundle", "--node", "http://127.0.0.1:1", "--token-file", os.DevNull, "-"); err == nil {
		t.Error("a node that does not answer is described by this machine")
	}
}
