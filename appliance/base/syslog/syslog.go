// Package syslog writes messages for a syslog server, in the form of RFC 5424, and
// reads the URL of one. It sends nothing.
package syslog

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Port is where a syslog server listens when its URL has none.
const Port = "514"

// Target is a syslog server. The zero Target is none.
type Target struct {
	Network string // udp or tcp
	Address string // host and port
}

// maxURL is the longest URL of a server, in bytes.
const maxURL = 300

// ParseTarget reads a URL like udp://192.0.2.1:514 or tcp://logs.example.org.
func ParseTarget(text string) (Target, error) {
	const form = "want a syslog server like udp://192.0.2.1:514 or tcp://logs.example.org"
	if len(text) > maxURL {
		return Target{}, fmt.Errorf("%s, of at most %d characters", form, maxURL)
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || u.Scheme != "udp" && u.Scheme != "tcp" {
		return Target{}, errors.New(form)
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return Target{}, fmt.Errorf("%s, with nothing but a host and a port", form)
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && !isName(host) {
		return Target{}, fmt.Errorf("%s: %.80q is neither an address nor a name", form, host)
	}
	port := u.Port()
	if port == "" {
		port = Port
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return Target{}, fmt.Errorf("%s: %.20q is no port", form, port)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return Target{u.Scheme, host + ":" + port}, nil
}

// isName says whether a host has the form of a name in the DNS.
func isName(host string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return len(host) <= 253 && strings.Trim(host, letters) == ""
}

// IsZero says whether it is none.
func (t Target) IsZero() bool { return t == Target{} }

func (t Target) String() string { return t.Network + "://" + t.Address }

// Severity is how bad what a message says is.
type Severity int

// Those of RFC 5424 that are used.
const (
	Error         Severity = 3
	Warning       Severity = 4
	Informational Severity = 6
)

// facility is that of system daemons.
const facility = 3

// Message is one line of a log.
type Message struct {
	Severity Severity
	Time     time.Time
	Host     string // who wrote it
	App      string // which program there
	Text     string
}

// Append writes the message behind buf. It is one line: whatever is no printable
// ASCII in the head becomes "_", and a newline in the text a space.
func (m Message) Append(buf []byte) []byte {
	buf = fmt.Appendf(buf, "<%d>1 %s %s %s - - - ", facility<<3|int(m.Severity), m.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), word(m.Host, 255), word(m.App, 48))
	return append(buf, strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(m.Text, "\uFFFD"))...)
}

// word is a field of the head, of at most most bytes; "-" for an empty one.
func word(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// Frame writes a message behind buf as TCP carries it: after the count of its bytes
// (RFC 6587, octet counting).
func Frame(buf, message []byte) []byte {
	buf = strconv.AppendInt(buf, int64(len(message)), 10)
	return append(append(buf, ' '), message...)
}
