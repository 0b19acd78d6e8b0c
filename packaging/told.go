package packaging

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"phase/appliance/base/tool"
	"phase/appliance/compute/worker"
	"phase/appliance/daemon/config"
)

// told are the manual pages and completions, as the programs tell them.
func (p Package) told(ctx context.Context) ([]entry, error) {
	list := []entry{}
	for _, c := range []struct {
		to   string
		args []string
	}{
		{"/usr/share/man/man1/plasmd.1.gz", []string{"plasmd", "--man", "plasmd"}},
		{"/usr/share/man/man1/phase-discover.1.gz", []string{"discover", "--man", "phase discover"}},
		{"/usr/share/man/man1/phase-fetch.1.gz", []string{"fetch", "--man", "phase fetch"}},
		{"/usr/share/man/man1/phase-verify.1.gz", []string{"verify", "--man", "phase verify"}},
		{"/usr/share/bash-completion/completions/plasmd", []string{"plasmd", "completion", "bash"}},
		{"/usr/share/zsh/vendor-completions/_plasmd", []string{"plasmd", "completion", "zsh"}},
		{"/usr/share/fish/vendor_completions.d/plasmd.fish", []string{"plasmd", "completion", "fish"}},
	} {
		text, err := tool.Command{Name: p.Own, Args: c.args}.Run(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, entry{to: c.to, text: text, packed: strings.HasSuffix(c.to, ".gz")})
	}
	return list, nil
}

// configPath is where the service finds its configuration.
const configPath = "/etc/phase/plasmd.toml"

// set are the keys that the service has from its configuration: its folders are
// those that systemd makes, and its group may use the socket.
var set = map[string]string{"socket": "/run/phase/plasmd.sock", "socket_group": Name, "data": "/var/lib/phase"}

// configuration is what `plasmd init` writes, with those keys set.
func configuration() ([]byte, error) {
	text := config.Default
	for key, value := range set {
		line := regexp.MustCompile(`(?m)^# ` + key + ` = .*$`)
		if len(line.FindAll(text, -1)) != 1 {
			return nil, fmt.Errorf("the configuration that plasmd init writes has not one line for %q", key)
		}
		text = line.ReplaceAll(text, fmt.Appendf(nil, "%s = %q", key, value))
	}
	_, err := config.Parse(text)
	return text, err
}

// licenceFile is what a module calls the file that its licence is in.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)`)

// licences are those of the modules that the programs are linked with, which ask
// for being passed on, and that of the Go library.
func (p Package) licences(ctx context.Context) ([]byte, error) {
	modules := map[string]bool{}
	for _, name := range []string{"phase", worker.File} {
		info, err := buildinfo.ReadFile(filepath.Join(p.Programs, name))
		if err != nil {
			return nil, err
		}
		for _, m := range info.Deps {
			modules[m.Path] = true
		}
	}
	dirs, err := tool.Command{Name: "go", Args: []string{"list", "-m", "-f", "{{.Path}} {{.Version}}\t{{.Dir}}", "all"}}.Run(ctx)
	if err != nil {
		return nil, err
	}
	root, err := tool.Command{Name: "go", Args: []string{"env", "GOROOT"}}.Run(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string][]string{} // text to the modules that have it
	lines := append(strings.Split(string(dirs), "\n"), "std\t"+strings.TrimSpace(string(root)))
	for _, line := range lines {
		name, dir, _ := strings.Cut(line, "\t")
		if path, _, _ := strings.Cut(name, " "); path != "std" && !modules[path] {
			continue
		}
		text, err := licenceOf(dir)
		if err != nil {
			return nil, fmt.Errorf("the licence of %s: %w", name, err)
		}
		by[text] = append(by[text], name)
	}
	var sections []string
	for text, names := range by {
		sections = append(sections, strings.Join(names, "\n")+"\n\n"+text)
	}
	slices.Sort(sections)
	return []byte(strings.Join(sections, "\n"+strings.Repeat("-", 72)+"\n")), nil
}

// licenceOf is what a module says of its licence.
func licenceOf(dir string) (string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	for _, f := range files {
		if f.IsDir() || !licenceFile.MatchString(f.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return "", err
		}
		text.Write(data)
	}
	if text.Len() == 0 {
		return "", fmt.Errorf("%s holds no file of one", dir)
	}
	return text.String(), nil
}
