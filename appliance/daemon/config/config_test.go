package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every key stands in the default file, and each with a value that may be used.
func TestDefaultHoldsEveryKey(t *testing.T) {
	if c, err := Parse(Default); err != nil || !reflect.DeepEqual(c, Config{}) {
		t.Fatalf("the default sets something: %+v, %v", c, err)
	}
	all := regexp.MustCompile(`(?m)^# ([a-z_]+ = )`).ReplaceAll(Default, []byte("$1"))
	c, err := Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	names := known()
	for prefix, part := range map[string]any{"": c, "jobs.": c.Jobs, "history.": c.History, "network.": c.Network, "log.": c.Log} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Struct {
				continue
			}
			name := prefix + v.Type().Field(i).Tag.Get("toml")
			if v.Field(i).IsNil() {
				t.Errorf("%s is not in the default file", name)
			}
			if !slices.Contains(names, name) {
				t.Errorf("%s is not in the table of keys", name)
			}
		}
	}
	for _, k := range c.keys() {
		if k.number != nil && k.least >= k.most {
			t.Errorf("%s: %d to %d is no range", k.name, k.least, k.most)
		}
	}
}

// TestNetworkComesLast: what docs/first-hour.md adds to the end of the file is meant
// for the table network.
func TestNetworkComesLast(t *testing.T) {
	c, err := Parse(append(bytes.Clone(Default), "accept = \"all\"\n"...))
	if err != nil || c.Network.Accept == nil || *c.Network.Accept != "all" {
		t.Errorf("%+v, %v", c.Network, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"https = 1", `"https" is unknown: take it out, or install the newer plasmd`},
		{"version = 2", `"version" is unknown`},
		{"[jobs]\ncoers = 1", `"jobs.coers" is unknown`},
		{"[jobs]\ncoers = 1", "jobs.cores"},
		{"[job]\ncores = 1", `"job`},
		{"[jobs]\ncores = 0", "jobs.cores: 0 is out of range, 1 to 1024"},
		{"[jobs]\ncores = \"2\"", `"jobs.cores" must be a whole number from 1 to 1024`},
		{"[jobs]\ncores = 1.5", `jobs.cores`},
		{"http = 8080", `"http" must be text`},
		{"jobs = 3", "jobs"},
		{"[jobs]\noutput_mb = 1025", "jobs.output_mb: 1025 is out of range, 1 to 1024"},
		{"drain_seconds = -1", "drain_seconds: -1 is out of range, 0 to 3600"},
		{"[history]\nruns = 99999999999", "history.runs"},
		{"data = \"here\"", "data: \"here\" must be a path from the root"},
		{"http = ", "line 1"},
		{"http = \"a:1\"\nhttp = \"b:1\"", "line 2, column 1: key http is already defined"},
		{"HTTP = \"127.0.0.1:8080\"", `"HTTP" is unknown`},
		{"[Jobs]\ncores = 1", `"Jobs" is unknown`},
		{"[jobs]\nCores = 1", `"jobs.Cores" is unknown`},
		{"jobs.cores = 1\njobs.Cores = 1", `"jobs.Cores" is unknown`},
		{"[[jobs]]\ncores = 1", `"jobs" must be a table`},
		{"http.port = 1", `"http.port" must be text`},
		{"http = \"nonsense\"", `http: "nonsense" is not an address`},
		{"http = \"127.0.0.1:99999\"", "http: "},
		{"http = \"\"", "http: "},
		{"[log]\nsyslog = \"192.0.2.1\"", "log.syslog: want a syslog server like"},
		{"[log]\nsyslog = \"tcp://me:word@192.0.2.1\"", "nothing but a host and a port"},
		{"[log]\nfile = \"x\"", `"log.file" is unknown`},
		{"socket_group = \"\"", "socket_group: "},
		{"network.mode = \"lan\"", `network.mode: "lan" is none of internet, local, private, off`},
		{"network.relay = 1", `"network.relay" must be true or false`},
		{"network.listen = 1", `"network.listen" must be a list of texts`},
		{strings.Repeat("#", maxFile+1), "larger than 64 KiB"},
	} {
		if got, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40q: %+v, %v; want %q", c.text, got, err, c.says)
		}
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "plasmd.toml")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "mine" {
		t.Errorf("it holds %q", data)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzParse: what is read holds its ranges, and nothing panics.
func FuzzParse(f *testing.F) {
	f.Add(Default)
	f.Add(bytes.ReplaceAll(Default, []byte("\n# "), []byte("\n")))
	f.Add([]byte("[jobs]\ncores = 1\n[history]\nruns = 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err == nil && c.checkRanges() != nil {
			t.Fatalf("%q passed", data)
		}
	})
}

// What is set is written again, and nothing else: comments may hold what is for
// nobody else's eyes.
func TestText(t *testing.T) {
	c, err := Parse([]byte("http = \"127.0.0.1:1\" # for me\n[jobs]\ncores = 1\n[network]\npeers = [\"/a\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Text()
	if err != nil || strings.Contains(text, "for me") || strings.Contains(text, "socket") {
		t.Errorf("%v: %s", err, text)
	}
	if again, err := Parse([]byte(text)); err != nil || *again.HTTP != "127.0.0.1:1" || *again.Jobs.Cores != 1 || len(again.Network.Peers) != 1 {
		t.Errorf("%s: %+v, %v", text, again, err)
	}
}
