package journal

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// still is a clock that stands.
func still() time.Time { return time.Unix(1000, 0) }

func texts(lines []Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Service+" "+string(l.Level)+" "+l.Text)
	}
	return strings.Join(all, "|")
}

func TestWrite(t *testing.T) {
	var out strings.Builder
	l := NewLog(&out, still)
	fmt.Fprint(l, "one\nwarn: tw")
	fmt.Fprint(l, "o \x1b[31m\nproblem: three\nerror: four\n"+strings.Repeat("x", 2*maxPart)+"\nno end")
	lines, next := l.Last(0, Query{})
	if got := texts(lines[:4]); got != "plasmd info one|plasmd warning warn: two  [31m|plasmd warning problem: three|plasmd error error: four" || next != 5 {
		t.Errorf("%d lines: %s", next, got)
	}
	if n := len(lines[4].Text); n > 600 {
		t.Errorf("a line of %d bytes", n)
	}
	if !strings.HasPrefix(out.String(), "one\nwarn: two \x1b[31m\n") {
		t.Errorf("passed on: %.40q", out.String())
	}
}

// Which lines are answered.
func TestQuery(t *testing.T) {
	l := NewLog(io.Discard, still)
	for i := range 6 {
		l.Add(Line{Time: time.Unix(int64(i), 0), Service: []string{"net", "update"}[i%2], Level: Info, Text: fmt.Sprint(i)})
	}
	for _, c := range []struct {
		n    int
		q    Query
		want string
	}{
		{0, Query{}, "0 1 2 3 4 5"},
		{2, Query{}, "4 5"},
		{2, Query{Service: "net"}, "2 4"},
		{0, Query{Since: time.Unix(3, 0)}, "3 4 5"},
		{1, Query{Since: time.Unix(3, 0), Service: "update"}, "5"},
		{0, Query{Service: "nobody"}, ""},
	} {
		lines, _ := l.Last(c.n, c.q)
		var got []string
		for _, line := range lines {
			got = append(got, line.Text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%d of %+v: %q, want %q", c.n, c.q, got, c.want)
		}
	}
}

// What is kept is bounded, and a reader that is too slow is told how much it missed.
func TestBounds(t *testing.T) {
	l := NewLog(io.Discard, still)
	const n = 5000
	for i := range n {
		l.Add(Line{Text: fmt.Sprintf("%06d %s", i, strings.Repeat("x", 400))})
	}
	if l.bytes > maxBytes || len(l.lines)*(400+overhead) > maxBytes {
		t.Errorf("%d lines of %d bytes are kept", len(l.lines), l.bytes)
	}
	b := l.From(10, 3)
	if b.Missed != l.first-10 || len(b.Lines) != 3 || b.Next != l.first+3 || !strings.HasPrefix(b.Lines[0].Text, fmt.Sprintf("%06d ", l.first)) {
		t.Errorf("%d missed, then %s, next %d", b.Missed, texts(b.Lines), b.Next)
	}
	if b = l.From(n-1, 9); b.Missed != 0 || len(b.Lines) != 1 || b.Next != n {
		t.Errorf("the last: %+v", b)
	}
	if b = l.From(n+7, 9); len(b.Lines) != 0 {
		t.Errorf("behind the last: %+v", b)
	}
}

// A reader waits for the next line, and its end is the end of the daemon, once it has
// read what there was.
func TestFollow(t *testing.T) {
	l := NewLog(io.Discard, still)
	b := l.From(0, 9)
	go fmt.Fprint(l, "one\ntwo\n")
	<-b.More
	got := []Line{}
	for len(got) < 2 {
		b = l.From(b.Next, 1)
		if got = append(got, b.Lines...); len(b.Lines) == 0 {
			<-b.More
		}
	}
	b = l.From(b.Next, 1)
	l.End()
	<-b.More
	if b = l.From(b.Next, 1); !b.Over || len(b.Lines) != 0 {
		t.Errorf("the end: %+v", b)
	}
	if b = l.From(0, 1); b.Over {
		t.Error("it is over before all was read")
	}
	l.End()
}

// No secret is kept, not even one that is cut.
func TestSecrets(t *testing.T) {
	l := NewLog(io.Discard, still)
	l.Hide("0123456789abcdef")
	fmt.Fprintf(l, "it is 0123456789abcdef\ntoken fedcba9876543210\n%s0123456789abcdef\n", strings.Repeat("x", 505))
	l.Add(Line{Text: "http://me:word@192.0.2.1/"})
	lines, _ := l.Last(0, Query{})
	for _, secret := range []string{"0123456", "fedcba", "word"} {
		if strings.Contains(texts(lines), secret) {
			t.Errorf("%s is in %s", secret, texts(lines))
		}
	}
}

// records is an open file that gives records as /dev/kmsg does, one a read.
func records(t *testing.T) (read *os.File, write func(string)) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	in := os.NewFile(uintptr(fds[1]), "kmsg")
	t.Cleanup(func() { in.Close() })
	return os.NewFile(uintptr(fds[0]), "kmsg"), func(s string) {
		if _, err := in.WriteString(s); err != nil {
			t.Error(err)
		}
	}
}

// The lines of the kernel and of all programs come into the log, those of this daemon
// once.
func TestFollowKernel(t *testing.T) {
	f, write := records(t)
	l := NewLog(io.Discard, still)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- l.FollowKernel(ctx, f, func() time.Duration { return 100 * time.Second }, 50*time.Second)
	}()
	for _, r := range []string{
		"6,1,1000000,-;Linux version 6\n SUBSYSTEM=x\n",
		"3,2,2000000,-,caller=T1;ata1: it failed\n",
		"29,3,3000000,-;init: booted\n",
		"28,4,4000000,-;update: problem: no provider\n",
		"29,5,49000000,-;plasmd: token 0123456789abcdef0123\n",
		"29,6,51000000,-;plasmd: said by itself\n",
		"no record",
		"29,9,60000000,-;net: up\n",
	} {
		write(r)
	}
	var lines []Line
	for b := l.From(0, 0); len(lines) < 7; <-b.More {
		b = l.From(0, 0)
		if lines, _ = l.Last(0, Query{}); len(lines) >= 7 {
			break
		}
	}
	const want = "kernel info Linux version 6|kernel error ata1: it failed|init info booted|update warning problem: no provider|plasmd info token [removed]|" +
		"plasmd warning 2 lines of the log were lost here: they gave way to newer ones before they were sent|net info up"
	if got := texts(lines); got != want {
		t.Errorf("got %s", got)
	}
	if at := lines[0].Time; !at.Equal(time.Unix(901, 0)) {
		t.Errorf("a second after the start is %v", at)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// FuzzParseRecord: what is read makes a line with a name and a time.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("6,1,1000000,-;Linux version 6\n SUBSYSTEM=x\n"))
	f.Add([]byte("29,3,3000000,-,caller=T1;init: booted\n"))
	f.Add([]byte("29,99999999999999999999,-1,-;"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		l := r.line(time.Unix(0, 0))
		if l.Service == "" || l.Level == "" || l.Time.Before(time.Unix(0, 0)) || strings.Contains(l.Text, "\n") {
			t.Errorf("%q became %+v", data, l)
		}
	})
}
