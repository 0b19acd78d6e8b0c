// Package config is the daemon's configuration on a laptop or a server, a TOML
// file. What stands in it takes effect or is refused with the key's name and
// what it may be; what does not stand in it has a default that fits the machine.
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
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"phase/appliance/base/statefile"
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
	DrainSeconds *int64  `toml:"drain_seconds" range:"0-3600"`
	Jobs         Jobs    `toml:"jobs"`
	History      History `toml:"history"`
}

// Jobs is what jobs may have of the machine.
type Jobs struct {
	Cores          *int64 `toml:"cores" range:"1-1024"`
	MemoryMB       *int64 `toml:"memory_mb" range:"1-16777216"`
	Queue          *int64 `toml:"queue" range:"0-100000"`
	PerRequester   *int64 `toml:"per_requester" range:"1-100000"`
	TimeoutSeconds *int64 `toml:"timeout_seconds" range:"1-3600"`
	OutputMB       *int64 `toml:"output_mb" range:"1-1024"`
}

// History is how much is remembered.
type History struct {
	Runs   *int64 `toml:"runs" range:"1-10000000"`
	SizeMB *int64 `toml:"size_mb" range:"1-1048576"`
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
	known := keys(reflect.TypeOf(c), "")
	if key := unknown(plain, known, ""); key != "" {
		return Config{}, fmt.Errorf("the key %.80q is unknown; known are %s", key, strings.Join(known, ", "))
	}
	switch err := toml.Unmarshal(data, &c); {
	case errors.As(err, &wrong):
		row, _ := wrong.Position()
		return Config{}, fmt.Errorf("line %d: %.80q must be %s", row, strings.Join(wrong.Key(), "."), kind(reflect.TypeOf(c), wrong.Key()))
	case err != nil:
		return Config{}, err
	}
	if err := check(reflect.ValueOf(c), ""); err != nil {
		return Config{}, err
	}
	if c.HTTP != nil {
		if err := CheckAddress(*c.HTTP); err != nil {
			return Config{}, fmt.Errorf("http: %w", err)
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

// unknown is the first key of a table that is not known, "" without one. A
// table that is no table is known, and wrong in another way.
func unknown(table map[string]any, known []string, prefix string) string {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key := prefix + name
		inner, isTable := table[name].(map[string]any)
		below := slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, key+".") })
		switch {
		case isTable && below:
			if key := unknown(inner, known, key+"."); key != "" {
				return key
			}
		case !below && !slices.Contains(known, key):
			return key
		}
	}
	return ""
}

// check holds numbers to their ranges.
func check(v reflect.Value, prefix string) error {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		name := prefix + field.Tag.Get("toml")
		if value.Kind() == reflect.Struct {
			if err := check(value, name+"."); err != nil {
				return err
			}
			continue
		}
		if n, ok := value.Interface().(*int64); ok && n != nil {
			if least, most := bounds(field); *n < least || *n > most {
				return fmt.Errorf("%s: %d is out of range, %d to %d is allowed", name, *n, least, most)
			}
		}
	}
	return nil
}

// bounds reads the range a field's tag allows.
func bounds(field reflect.StructField) (least, most int64) {
	if _, err := fmt.Sscanf(field.Tag.Get("range"), "%d-%d", &least, &most); err != nil {
		panic(field.Name + " has no range") // a number is declared with one
	}
	return least, most
}

// kind says what the value of a key must be.
func kind(t reflect.Type, key []string) string {
	for i := range t.NumField() {
		field := t.Field(i)
		if len(key) == 0 || field.Tag.Get("toml") != key[0] {
			continue
		}
		switch {
		case field.Type.Kind() == reflect.Struct && len(key) > 1:
			return kind(field.Type, key[1:])
		case field.Type.Kind() == reflect.Struct:
			return "a table"
		case field.Type == reflect.TypeFor[*string]():
			return "text"
		}
		least, most := bounds(field)
		return fmt.Sprintf("a whole number from %d to %d", least, most)
	}
	return "something else"
}

// keys lists all there are.
func keys(t reflect.Type, prefix string) (list []string) {
	for i := range t.NumField() {
		field := t.Field(i)
		name := prefix + field.Tag.Get("toml")
		if field.Type.Kind() == reflect.Struct {
			list = append(list, keys(field.Type, name+".")...)
		} else {
			list = append(list, name)
		}
	}
	return list
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
