package settings

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/names"
)

const peerID = "12D3KooWBcvg1r7f3XDeAah1GL57AoXsc22gGPi5N5MLevEYzCRk"

func TestParse(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	with := func(change func(*Options)) Options {
		o := Default()
		change(&o)
		return o
	}
	ip := func(s string) IP {
		ip, err := ParseIP(s)
		if err != nil {
			t.Fatal(err)
		}
		return ip
	}
	for _, c := range []struct {
		name, cmdline, conf string
		want                Options
		problems            []string // a part of each problem, in order
	}{
		{"empty", "", "", Default(), nil},
		{"the kernel's own words", "ro root=/dev/vda2 console=ttyS0,115200 init=/gokrazy/init phasex.mode=private quiet", "", Default(), nil},
		{"mode", "phase.mode=local", "", with(func(o *Options) { o.Mode = Local }), nil},
		{"mode private", "phase.mode=private", "", with(func(o *Options) { o.Mode, o.Cache, o.NoWrite = Private, false, true }), nil},
		{"a syslog server", "phase.syslog=udp://192.0.2.1", "", with(func(o *Options) { o.Syslog = "udp://192.0.2.1" }), nil},
		{"no syslog server", "phase.syslog=192.0.2.1", "", Default(), []string{"the log is sent nowhere"}},
		{"private sends no log", "phase.mode=private phase.syslog=udp://192.0.2.1", "",
			with(func(o *Options) { o.Mode, o.Cache, o.NoWrite = Private, false, true }), []string{"the log is sent nowhere"}},
		{"private is not made laxer", "phase.mode=private phase.cache=on phase.nowrite=off", "",
			with(func(o *Options) { o.Mode, o.Cache, o.NoWrite = Private, false, true }), []string{"phase.", "phase."}},
		{"misspelt mode", "phase.mode=Private", "", with(func(o *Options) { o.Mode = Local }), []string{"phase.mode=Private: the modes are"}},
		{"misspelt mode undoes no good one", "phase.mode=private phase.mode=locl", "",
			with(func(o *Options) { o.Mode, o.Cache, o.NoWrite = Private, false, true }), []string{"phase.mode=private holds"}},
		{"misspelt mode on the line, good one in the file", "phase.mode=x", "phase.mode=private",
			with(func(o *Options) {
				o.Mode, o.Cache, o.NoWrite, o.Conf = Private, false, true, []string{"phase.mode=private"}
			}), []string{"phase.mode=x"}},
		{"channel", "phase.channel=nightly", "", with(func(o *Options) { o.Channel = "nightly" }), nil},
		{"channel unknown", "phase.channel=../x", "", Default(), []string{"stable holds"}},
		{"providers", "phase.provider=http://192.0.2.1:8080/ phase.provider=http://[fe80::1%25eth0]:8080", "",
			with(func(o *Options) { o.Provider = []string{"http://192.0.2.1:8080", "http://[fe80::1%25eth0]:8080"} }), nil},
		{"provider unusable", "phase.provider=file:///etc phase.provider=http://u:p@h phase.provider=http://h:99999", "", Default(),
			[]string{"want a URL like", "without user", "no port"}},
		{"switches", "phase.cache=off phase.update=off", "", with(func(o *Options) { o.Cache, o.Update = false, false }), nil},
		{"nowrite", "phase.nowrite=on", "", with(func(o *Options) { o.NoWrite, o.Cache = true, false }), nil},
		{"switches misread strictly", "phase.nowrite=yes phase.cache=1", "", with(func(o *Options) { o.NoWrite, o.Cache = true, false }),
			[]string{"on holds", "off holds"}},
		{"last word wins", "phase.update=off phase.update=on", "", Default(), nil},
		{"ip", "phase.ip=192.0.2.7/24,192.0.2.1,192.0.2.53", "", with(func(o *Options) { o.IP = ip("192.0.2.7/24,192.0.2.1,192.0.2.53") }), nil},
		{"ip wrong", "phase.ip=192.0.2.7", "", Default(), []string{"dhcp holds"}},
		{"trial", "phase.trial=" + digest, "", with(func(o *Options) { o.Trial = digest }), nil},
		{"trial short", "phase.trial=sha256:00", "", Default(), []string{"no trial"}},
		{"trial and disk in the file", "", "phase.trial=" + digest + "\nphase.disk=/dev/sda2\n", Default(), []string{"no place", "no place"}},
		{"disk", "phase.disk=PARTUUID=2e18c40c-02", "", with(func(o *Options) { o.Disk = "PARTUUID=2e18c40c-02" }), nil},
		{"disk that climbs", "phase.disk=/dev/../etc", "", Default(), []string{"no disk"}},
		{"place", "phase.place=0123456789abcdef", "", with(func(o *Options) { o.Place = "0123456789abcdef" }), nil},
		{"place that is none", "phase.place=0123456789abcdeX", "phase.place=0123456789abcdef", Default(), []string{"no place in phase.conf", "16 lower-case"}},
		{"unknown option", "phase.color=blue", "", Default(), []string{"phase.color=blue: is no option"}},
		{"no value", "phase.mode", "", with(func(o *Options) { o.Mode = Local }), []string{"phase.mode: the modes"}},
		{"menu", "phase.menu=5 phase.bootstrap=/ip4/192.0.2.1/tcp/4001", "",
			with(func(o *Options) { o.Menu, o.Bootstrap = 5, []string{"/ip4/192.0.2.1/tcp/4001"} }), nil},
		{"menu for too long", "phase.menu=3601", "phase.menu=-1", Default(), []string{"nothing is asked", "nothing is asked"}},
		{"accept", "phase.accept=all phase.accept=" + peerID, "", with(func(o *Options) { o.Accept = peerID }), nil},
		{"admin", "phase.admin=" + peerID, "phase.admin=none", with(func(o *Options) { o.Admin = peerID }), nil},
		{"admin misread strictly", "phase.admin=everyone", "", with(func(o *Options) { o.Admin = Nobody }), []string{"nobody may give orders"}},
		{"admin misread in part", "phase.admin=" + peerID + ",all", "", with(func(o *Options) { o.Admin = Nobody }), []string{"nobody may give orders"}},
		{"canary", "phase.canary=" + peerID + "," + peerID, "", with(func(o *Options) { o.Canary = peerID + "," + peerID }), nil},
		{"canary misread", "phase.canary=all", "", Default(), []string{"nobody's failures"}},
		{"mirror", "phase.mirror=arm64,x86_64,arm64", "", with(func(o *Options) { o.Mirror = []string{"arm64", "x86_64"} }), nil},
		{"mirror of what there is not", "phase.mirror=arm64,mips", "", Default(), []string{"nothing is mirrored"}},
		{"window", "phase.window=22:00-04:30", "", with(func(o *Options) { o.Window = "22:00-04:30" }), nil},
		{"window misread strictly", "phase.window=at-night", "", with(func(o *Options) { o.Window = Never }), []string{"no release is taken by itself"}},
		{"watchdog", "phase.require_watchdog=on", "", with(func(o *Options) { o.RequireWatchdog = true }), nil},
		{"watchdog misread strictly", "phase.require_watchdog=yes", "", with(func(o *Options) { o.RequireWatchdog = true }), []string{"on holds"}},
		{"accept misread strictly", "phase.accept=everyone", "", Default(), []string{"none holds"}},
		{"accept part of a peer id", "phase.accept=12D3KooW", "", Default(), []string{"none holds"}},
		{"file", "", "# settings\r\nphase.mode=local # why\n\n  phase.update=off\n\x00\x00\x00",
			with(func(o *Options) {
				o.Mode, o.Update, o.Conf = Local, false, []string{"phase.mode=local", "phase.update=off"}
			}), nil},
		{"line wins over file", "phase.provider=http://a phase.mode=internet", "phase.provider=http://b\nphase.mode=local\nphase.update=off",
			with(func(o *Options) {
				o.Provider, o.Update, o.Conf = []string{"http://a"}, false, []string{"phase.update=off"}
			}), nil},
		{"file unusable", "", "mode=local\nphase.mode=local x=y\nphase.x=1", Default(), []string{"want one phase.KEY", "no option", "want one phase.KEY"}},
		{"quotes", `"phase.mode=local" phase.channel="testing"`, "", with(func(o *Options) { o.Mode, o.Channel = Local, "testing" }), nil},
		{"control characters", "phase.x=\x1b[31m", "", Default(), []string{"phase.x=?[31m"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, problems := Parse(c.cmdline, c.conf)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("options\n got %+v\nwant %+v", got, c.want)
			}
			if len(problems) != len(c.problems) {
				t.Fatalf("problems %q, want %q", problems, c.problems)
			}
			for i, p := range problems {
				if !strings.Contains(p.String(), c.problems[i]) {
					t.Errorf("problem %q does not say %q", p, c.problems[i])
				}
			}
		})
	}
}

// TestParseIn: a mode chosen at a console holds whatever else was said, what else
// was asked for stays, and so it is after a jump, with the disk and without.
func TestParseIn(t *testing.T) {
	for _, c := range []struct {
		mode          Mode
		cmdline, conf string
		nowrite       bool
	}{
		{Local, "", "", false},
		{Internet, "phase.mode=private", "", false},
		{Internet, "phase.nowrite=on", "phase.mode=local", true},
		{Private, "phase.mode=internet phase.cache=on", "phase.mode=local", true},
		{Internet, "phase.mode=privat", "phase.mode=locl", false},
		{Local, `phase.mode=internet phase.x="`, "", false}, // what came behind the quote would be no word
		{Local, strings.Repeat("x ", MaxCmdline), "", false},
	} {
		o, _ := ParseIn(c.mode, c.cmdline, c.conf)
		if o.Mode != c.mode || o.NoWrite != c.nowrite {
			t.Errorf("%s, chosen over %q and %q: %+v", c.mode, c.cmdline, c.conf, o)
		}
		next, err := NextCmdline("", c.cmdline, o.Conf, names.Digest{}, "")
		if strings.Contains(c.cmdline, `"`) || len(c.cmdline) > MaxNext {
			continue // no kernel is jumped to with such words, whatever was chosen
		}
		for _, conf := range []string{c.conf, ""} {
			if after, _ := Parse(next, conf); err != nil || after.Mode != c.mode || after.NoWrite != c.nowrite {
				t.Errorf("%s, chosen over %q and %q, is after the jump with %q: %+v, %v", c.mode, c.cmdline, c.conf, conf, after, err)
			}
		}
	}
	if _, problems := ParseIn(Internet, "phase.mode=privat", ""); len(problems) != 1 || !strings.Contains(problems[0].String(), "phase.mode=internet holds") {
		t.Errorf("problems %q", problems)
	}
}

func TestParseTooLong(t *testing.T) {
	// The word that straddles the cap is left out whole: half a word may mean
	// something else.
	cmdline := strings.Repeat("x", MaxCmdline-16) + " phase.update=off phase.mode=private"
	o, problems := Parse(cmdline, strings.Repeat("#\n", MaxConf/2)+"phase.mode=private\n")
	if o.Mode != Internet || !o.Update || len(problems) != 2 {
		t.Errorf("got %+v, %q", o, problems)
	}
	_, problems = Parse(strings.Repeat("phase.x ", 100), "")
	if len(problems) != maxProblems+1 || !strings.Contains(problems[maxProblems].Detail, "68 more") {
		t.Errorf("%d problems, last %q", len(problems), problems[len(problems)-1])
	}
}

func TestOptionsJSON(t *testing.T) {
	want, _ := Parse("phase.ip=2001:db8::2/64,fe80::1,2001:db8::53 phase.mode=local", "phase.update=off")
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Options
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParseIP(t *testing.T) {
	for _, ok := range []string{"dhcp", "192.0.2.2/24", "192.0.2.2/24,192.0.2.1", "192.0.2.2/24,192.0.2.1,192.0.2.53,2001:db8::53", "2001:db8::2/64,fe80::1"} {
		if ip, err := ParseIP(ok); err != nil || ip.String() != ok {
			t.Errorf("ParseIP(%q) = %v, %v", ok, ip, err)
		}
	}
	for _, bad := range []string{"", "DHCP", "192.0.2.2", "192.0.2.2/33", "0.0.0.0/0", "127.0.0.1/8", "224.0.0.1/4", "255.255.255.255/32", "192.0.2.2/0",
		"192.0.2.2/24,", "192.0.2.2/24,192.0.2.2", "192.0.2.2/24,2001:db8::1", "192.0.2.2/24,192.0.2.1,", "192.0.2.2/24,192.0.2.1,1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4",
		"::ffff:192.0.2.2/120", "2001:db8::2/64,fe80::1%eth0"} {
		if ip, err := ParseIP(bad); err == nil {
			t.Errorf("ParseIP(%q) = %v", bad, ip)
		}
	}
}

func TestNextCmdline(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for _, c := range []struct {
		name, manifest, running string
		conf                    []string
		trial, want, err        string
	}{
		{"stub to release", "panic=10 console=tty0", "root=PARTUUID=60c24cc1-02 ro console=ttyS0,115200 console=tty0 phase.mode=local quiet init=/gokrazy/init", nil, digest,
			"panic=10 console=tty0 console=ttyS0,115200 phase.mode=local phase.disk=PARTUUID=60c24cc1-02 phase.trial=" + digest, ""},
		{"release to release", "panic=10", "panic=5 console=ttyS0 phase.disk=/dev/vda2 phase.trial=sha256:" + strings.Repeat("00", 32), nil, digest,
			"panic=10 console=ttyS0 phase.disk=/dev/vda2 phase.trial=" + digest, ""},
		{"settings of the stick travel", "", "console=ttyS0", []string{"phase.mode=private"}, "", "console=ttyS0 phase.mode=private", ""},
		{"the last word still wins", "", "phase.update=on phase.update=off phase.update=on", nil, "", "phase.update=off phase.update=on", ""},
		{"unknown words travel", "", "phase.new=1", nil, "", "phase.new=1", ""},
		{"root that cannot be found again", "", "root=LABEL=x", nil, "", "", ""},
		{"quotes", `a="b c"`, `phase.x="y z"`, nil, "", `"a=b c" "phase.x=y z"`, ""},
		{"manifest sets phase", "phase.mode=private", "", nil, "", "", "the manifest's"},
		{"manifest sets phase, quoted", `"phase.mode=private"`, "", nil, "", "", "the manifest's"},
		{"manifest sets init", "init=/bin/sh", "", nil, "", "", "the manifest's"},
		{"manifest sets rdinit", "rdinit=/x", "", nil, "", "", "the manifest's"},
		{"manifest sets root", "root=/dev/sda1", "", nil, "", "", "the manifest's"},
		{"quote inside a word", "", `phase.x=a"b`, nil, "", "", "holds a quote"},
		{"too long", strings.Repeat("x", 2000), "phase.x=" + strings.Repeat("y", 100), nil, "", "", "more than the 2047"},
		{"as long as it gets", strings.Repeat("x", 2047), "", nil, "", strings.Repeat("x", 2047), ""},
	} {
		var trial names.Digest
		if c.trial != "" {
			var err error
			if trial, err = names.ParseDigest(c.trial); err != nil {
				t.Fatal(err)
			}
		}
		got, err := NextCmdline(c.manifest, c.running, c.conf, trial, "")
		if got != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %q, %v; want %q, %q", c.name, got, err, c.want, c.err)
		}
	}
}

// TestNextCmdlineFirst: the program of the jump that runs first is the last word, and
// does not travel on to the jump after.
func TestNextCmdlineFirst(t *testing.T) {
	line, err := NextCmdline("quiet", "console=ttyS0", nil, names.Digest{}, "/first")
	if err != nil || line != "quiet console=ttyS0 rdinit=/first" {
		t.Errorf("%q, %v", line, err)
	}
	if line, err = NextCmdline("quiet", line, nil, names.Digest{}, ""); err != nil || line != "quiet console=ttyS0" {
		t.Errorf("then %q, %v", line, err)
	}
}

// FuzzParse states: whatever the two texts hold, private stays private, the
// options are of the known kinds, and every problem fits on a console line.
func FuzzParse(f *testing.F) {
	f.Add("phase.mode=private", "phase.cache=on")
	f.Add(`phase.provider="http://x/ phase.ip=1.2.3.4/5,6`, "\x00phase.mode=\xff")
	f.Fuzz(func(t *testing.T, cmdline, conf string) {
		o, problems := Parse(cmdline, conf)
		if o.Mode == Private && (o.Cache || !o.NoWrite) {
			t.Errorf("private with cache %v, nowrite %v", o.Cache, o.NoWrite)
		}
		if o.Disk != "" && !isDisk(o.Disk) || len(o.Provider) > maxList || len(problems) > maxProblems+1 {
			t.Errorf("got %+v and %d problems", o, len(problems))
		}
		for _, p := range problems {
			if s := p.String(); len(s) > 2*maxWord+100 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
				t.Errorf("problem %q", s)
			}
		}
	})
}

// FuzzNextCmdline states: a line that is accepted fits a kernel, carries the
// owner's words, and reads back as the same options.
func FuzzNextCmdline(f *testing.F) {
	f.Add("panic=10", "console=ttyS0 phase.mode=private root=/dev/vda2")
	f.Add(`"a b" c="d e"`, `phase.x="`)
	f.Fuzz(func(t *testing.T, wanted, running string) {
		before, _ := Parse(running, "")
		next, err := NextCmdline(wanted, running, nil, names.Digest{}, "")
		if err != nil || len(running) > MaxCmdline {
			return
		}
		if len(next) > MaxNext {
			t.Fatalf("%d bytes", len(next))
		}
		after, _ := Parse(next, "")
		before.Trial, before.Disk, after.Disk = "", "", ""
		slices.Sort(before.Provider)
		slices.Sort(after.Provider)
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%q became %q:\n%+v\n%+v", running, next, before, after)
		}
	})
}

// TestSettingsAmongGarbage: what was meant as a setting is told before what
// was not, however much of that there is.
func TestSettingsAmongGarbage(t *testing.T) {
	conf := strings.Repeat("\xff\x00 garbage\n", 1000) + "phase.mode=paranoid\nphase.update=off x\n"
	o, problems := Parse("phase.nonsense=1", conf)
	if o.Mode != Local || len(problems) != maxProblems+1 {
		t.Fatalf("mode %s, %d problems", o.Mode, len(problems))
	}
	for _, word := range []string{"phase.mode=paranoid", "phase.update=off x", "phase.nonsense=1"} {
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Word == word }) {
			t.Errorf("%s is not told", word)
		}
	}
}
