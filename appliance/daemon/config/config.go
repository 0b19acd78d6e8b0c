// Package config reads the daemon's configuration on a laptop or a server, a TOML
// file. A key takes effect or is refused with its name and what it may be; a key
// that is left out has a default that fits the machine.
package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"phase/appliance/base/statefile"
	"phase/appliance/base/syslog"
)

// Default is the file that `plasmd init` writes: every key with its meaning,
// commented out.
//
//go:embed default.toml
var Default []byte

// maxFile is the largest configuration read, 64 KiB.
const maxFile = 64 << 10

// Config is the file. What it leaves out is nil.
type Config struct {
	HTTP         *string `toml:"http"`
	Socket       *string `toml:"socket"`
	SocketGroup  *string `toml:"socket_group"`
	Data         *string `toml:"data"`
	DrainSeconds *int64  `toml:"drain_seconds"`
	Jobs         Jobs    `toml:"jobs"`
	History      History `toml:"history"`
	Network      Network `toml:"network"`
	Log          Log     `toml:"log"`
}

// Network is how the daemon takes part in the network of nodes.
type Network struct {
	Mode      *string  `toml:"mode"` // one of Modes
	Listen    []string `toml:"listen"`
	Bootstrap []string `toml:"bootstrap"`
	Peers     []string `toml:"peers"`
	Block     []string `toml:"block"`
	Accept    *string  `toml:"accept"`
	Relay     *bool    `toml:"relay"`
}

// Log is where the log goes besides the error output.
type Log struct {
	Syslog *string `toml:"syslog"` // a server, as syslog.ParseTarget reads it
}

// Modes are what network.mode may be; off has no part in the network.
var Modes = []string{"internet", "local", "private", "off"}

// Jobs is what jobs may have of the machine.
type Jobs struct {
	Cores          *int64 `toml:"cores"`
	MemoryMB       *int64 `toml:"memory_mb"`
	Queue          *int64 `toml:"queue"`
	PerRequester   *int64 `toml:"per_requester"`
	TimeoutSeconds *int64 `toml:"timeout_seconds"`
	OutputMB       *int64 `toml:"output_mb"`
}

// History is how much is remembered.
type History struct {
	Runs   *int64 `toml:"runs"`
	SizeMB *int64 `toml:"size_mb"`
}

// Parse reads a configuration of at most 64 KiB. Unknown keys and values out of
// range are refused by name.
func Parse(data []byte) (Config, error) {
	if len(data) > maxFile {
		return Config{}, fmt.Errorf("it is larger than %d KiB", maxFile>>10)
	}
	var c Config
	var wrong *toml.DecodeError
	// As TOML first: the library tells what is no TOML from what is no
	// configuration only by this, and takes names in any case.
	var plain map[string]any
	switch err := toml.Unmarshal(data, &plain); {
	case errors.As(err, &wrong):
		row, column := wrong.Position()
		return Config{}, fmt.Errorf("line %d, column %d: %s", row, column, strings.TrimPrefix(wrong.Error(), "toml: "))
	case err != nil:
		return Config{}, err
	}
	if key := unknown(plain, ""); key != "" {
		return Config{}, fmt.Errorf("the key %.80q is unknown: take it out, or install the newer plasmd that it was written for; known are %s", key, strings.Join(known(), ", "))
	}
	switch err := toml.Unmarshal(data, &c); {
	case errors.As(err, &wrong):
		row, _ := wrong.Position()
		key := strings.Join(wrong.Key(), ".")
		return Config{}, fmt.Errorf("line %d: %.80q must be %s", row, key, kind(key))
	case err != nil:
		return Config{}, err
	}
	if err := c.checkRanges(); err != nil {
		return Config{}, err
	}
	if c.HTTP != nil {
		if err := CheckAddress(*c.HTTP); err != nil {
			return Config{}, fmt.Errorf("http: %w", err)
		}
	}
	if mode := c.Network.Mode; mode != nil && !slices.Contains(Modes, *mode) {
		return Config{}, fmt.Errorf("network.mode: %.80q is none of %s", *mode, strings.Join(Modes, ", "))
	}
	if c.Log.Syslog != nil {
		if _, err := syslog.ParseTarget(*c.Log.Syslog); err != nil {
			return Config{}, fmt.Errorf("log.syslog: %w", err)
		}
	}
	if c.SocketGroup != nil && *c.SocketGroup == "" {
		return Config{}, errors.New("socket_group: it is empty; name a group, or leave the key out")
	}
	for key, path := range map[string]*string{"socket": c.Socket, "data": c.Data} {
		if path != nil && !filepath.IsAbs(*path) {
			return Config{}, fmt.Errorf("%s: %.80q must be a path from the root, like /srv/phase", key, *path)
		}
	}
	return c, nil
}

// CheckAddress refuses what is no address to listen on.
func CheckAddress(text string) error {
	_, port, err := net.SplitHostPort(text)
	if _, number := strconv.ParseUint(port, 10, 16); err != nil || number != nil {
		return fmt.Errorf("%.80q is not an address to listen on, like 127.0.0.1:8080 or [::]:8080, with a port from 0 to 65535", text)
	}
	return nil
}

// key is a key of the file: text, a number within a range, or of another kind.
type key struct {
	name        string
	number      **int64 // nil for all that is no number
	least, most int64
	kind        string // "" for text and numbers
}

// keys are all there are, in the order of the file.
func (c *Config) keys() []key {
	return []key{
		{name: "http"}, {name: "socket"}, {name: "socket_group"}, {name: "data"},
		{name: "network.mode"}, {name: "network.accept"}, {name: "network.relay", kind: "true or false"},
		{name: "network.listen", kind: texts}, {name: "network.bootstrap", kind: texts}, {name: "network.peers", kind: texts}, {name: "network.block", kind: texts},
		{name: "log.syslog"},
		{"drain_seconds", &c.DrainSeconds, 0, 3600, ""},
		{"jobs.cores", &c.Jobs.Cores, 1, 1024, ""},
		{"jobs.memory_mb", &c.Jobs.MemoryMB, 1, 16777216, ""},
		{"jobs.queue", &c.Jobs.Queue, 0, 100_000, ""},
		{"jobs.per_requester", &c.Jobs.PerRequester, 1, 100_000, ""},
		{"jobs.timeout_seconds", &c.Jobs.TimeoutSeconds, 1, 3600, ""},
		{"jobs.output_mb", &c.Jobs.OutputMB, 1, 1024, ""},
		{"history.runs", &c.History.Runs, 1, 10_000_000, ""},
		{"history.size_mb", &c.History.SizeMB, 1, 1_048_576, ""},
	}
}

// texts is the kind of a list.
const texts = "a list of texts"

func known() (names []string) {
	for _, k := range new(Config).keys() {
		names = append(names, k.name)
	}
	return names
}

// checkRanges holds numbers to their ranges.
func (c *Config) checkRanges() error {
	for _, k := range c.keys() {
		if k.number != nil && *k.number != nil && (**k.number < k.least || **k.number > k.most) {
			return fmt.Errorf("%s: %d is out of range, %d to %d is allowed", k.name, **k.number, k.least, k.most)
		}
	}
	return nil
}

// unknown is the first key of a table that is not known, "" without one. A
// table that is no table is known, and wrong in another way.
func unknown(table map[string]any, prefix string) string {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key := prefix + name
		inner, isTable := table[name].(map[string]any)
		below := slices.ContainsFunc(known(), func(k string) bool { return strings.HasPrefix(k, key+".") })
		switch {
		case isTable && below:
			if key := unknown(inner, key+"."); key != "" {
				return key
			}
		case !below && !slices.Contains(known(), key):
			return key
		}
	}
	return ""
}

// kind says what the value of a key must be.
func kind(name string) string {
	for _, k := range new(Config).keys() {
		switch of := k.name == name || strings.HasPrefix(name, k.name+"."); {
		case strings.HasPrefix(k.name, name+"."):
			return "a table"
		case of && k.kind != "":
			return k.kind
		case of && k.number == nil:
			return "text"
		case of:
			return fmt.Sprintf("a whole number from %d to %d", k.least, k.most)
		}
	}
	return "something else"
}

// Load reads a configuration file.
func Load(path string) (Config, error) {
	data, err := statefile.ReadCapped(path, maxFile)
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	return c, nil
}

// Text is the configuration as a file that says the same: keys that are set, no
// comments.
func (c Config) Text() (string, error) {
	text, err := toml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	return string(text), nil
}

// Create writes the default configuration where there is none. It replaces
// nothing: the error wraps fs.ErrExist when there is something of that name.
func Create(path string) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = statefile.WriteNew(path, Default, 0o644)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("writing the configuration: %s is there already and stays as it is; move it away for a new one: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}
