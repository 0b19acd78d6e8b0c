package syslog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	libsyslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"udp://192.0.2.1:514":                  "udp://192.0.2.1:514",
		"udp://192.0.2.1":                      "udp://192.0.2.1:514",
		"tcp://logs.example.org:601":           "tcp://logs.example.org:601",
		"tcp://logs.example.org/":              "tcp://logs.example.org:514",
		"udp://[2001:db8::1]":                  "udp://[2001:db8::1]:514",
		"udp://[fe80::1%25eth0]:514":           "udp://[fe80::1%eth0]:514",
		"":                                     "",
		"192.0.2.1:514":                        "",
		"logs.example.org":                     "",
		"http://192.0.2.1":                     "",
		"udp://":                               "",
		"udp://:514":                           "",
		"udp://192.0.2.1:0":                    "",
		"udp://192.0.2.1:65536":                "",
		"tcp://me:word@192.0.2.1":              "",
		"tcp://192.0.2.1/path":                 "",
		"tcp://192.0.2.1?x=y":                  "",
		"tcp://192.0.2.1#x":                    "",
		"tcp://a b":                            "",
		"tcp://a\x01b":                         "",
		"tcp://" + strings.Repeat("a", maxURL): "",
	} {
		got, err := ParseTarget(text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "word") {
			t.Errorf("%q: %v tells the password", text, err)
		}
	}
}

// read is a message as another's parser sees it.
func read(t *testing.T, data []byte) *rfc5424.SyslogMessage {
	t.Helper()
	m, err := rfc5424.NewParser().Parse(data)
	if err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	return m.(*rfc5424.SyslogMessage)
}

// Another's parser reads each field as it was meant.
func TestAnotherReadsIt(t *testing.T) {
	at := time.Date(2026, 11, 30, 3, 4, 5, 123456789, time.FixedZone("", 3600))
	m := read(t, Message{Warning, at, "phase-0123abcd", "update", "found version 7 \u2026\n<13>1 forged"}.Append(nil))
	if *m.Severity != 4 || *m.Facility != 3 || *m.Hostname != "phase-0123abcd" || *m.Appname != "update" || !m.Timestamp.Equal(at.Truncate(time.Microsecond)) {
		t.Errorf("read as %+v", m)
	}
	if *m.Message != "found version 7 \u2026 <13>1 forged" || m.StructuredData != nil || m.ProcID != nil {
		t.Errorf("read as %q", *m.Message)
	}
	m = read(t, Message{Error, at, "", "two words \xff", "x"}.Append(nil))
	if m.Hostname != nil || strings.Contains(*m.Appname, " ") || strings.Contains(*m.Appname, "\xff") {
		t.Errorf("read as %+v", m)
	}
}

// A stream of frames is cut where it was joined.
func TestFrames(t *testing.T) {
	var stream []byte
	want := []string{"one", "two \u00fc", "three\nfour"}
	for _, text := range want {
		stream = Frame(stream, Message{Informational, time.Unix(0, 0), "h", "a", text}.Append(nil))
	}
	var got []string
	octetcounting.NewParser(libsyslog.WithListener(func(r *libsyslog.Result) {
		if r.Error != nil {
			t.Error(r.Error)
			return
		}
		got = append(got, *r.Message.(*rfc5424.SyslogMessage).Message)
	})).Parse(bytes.NewReader(stream))
	if len(got) != 3 || got[1] != want[1] || got[2] != "three four" {
		t.Errorf("got %q", got)
	}
}

func ExampleMessage_Append() {
	m := Message{Informational, time.Unix(1, 0), "phase-0123abcd", "plasmd", "serving http on [::]:8080"}
	fmt.Printf("%s\n", m.Append(nil))
	// Output: <30>1 1970-01-01T00:00:01.000000Z phase-0123abcd plasmd - - - serving http on [::]:8080
}

// FuzzParseTarget: what is accepted is accepted as it is written again.
func FuzzParseTarget(f *testing.F) {
	f.Add("udp://192.0.2.1:514")
	f.Add("tcp://[fe80::1%25eth0]")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTarget(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(got.Address, "@/?#\n ") {
			t.Errorf("%q became %q", text, got)
		}
		// The zone of an address is escaped in a URL.
		again, err := ParseTarget(strings.Replace(got.String(), "%", "%25", 1))
		if err != nil || again != got {
			t.Errorf("%q became %q, and that %q, %v", text, got, again, err)
		}
	})
}

// FuzzAppend: another's parser reads whatever is written, as one line.
func FuzzAppend(f *testing.F) {
	f.Add("host", "app", "text")
	f.Add("", "\x00", "a\nb")
	f.Fuzz(func(t *testing.T, host, app, text string) {
		data := Message{Error, time.Unix(1e9, 0), host, app, text}.Append(nil)
		if bytes.ContainsAny(data, "\n\x00") {
			t.Errorf("%q is more than one line", data)
		}
		if m := read(t, data); *m.Severity != 3 {
			t.Errorf("%q was read as %+v", data, m)
		}
	})
}
