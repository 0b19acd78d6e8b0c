package forward

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	libsyslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"phase/appliance/base/syslog"
	"phase/appliance/daemon/journal"
)

// receiver is a syslog server with the parser of others. Messages are what it read.
func receiver(network, address string) (server io.Closer, at string, messages chan *rfc5424.SyslogMessage, err error) {
	messages = make(chan *rfc5424.SyslogMessage, 1<<14)
	if network == "udp" {
		conn, err := net.ListenPacket("udp", address)
		if err != nil {
			return nil, "", nil, err
		}
		go func() {
			buf := make([]byte, 1<<16)
			for {
				n, _, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				if m, err := rfc5424.NewParser().Parse(buf[:n]); err == nil {
					messages <- m.(*rfc5424.SyslogMessage)
				}
			}
		}()
		return conn, conn.LocalAddr().String(), messages, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go octetcounting.NewParser(libsyslog.WithListener(func(r *libsyslog.Result) {
				if r.Error == nil {
					messages <- r.Message.(*rfc5424.SyslogMessage)
				}
			})).Parse(bufio.NewReader(conn))
		}
	}()
	return l, l.Addr().String(), messages, nil
}

// start runs a forwarder to an address until the test ends.
func start(t *testing.T, log *journal.Log, network, address string, say io.Writer) (f *Forwarder, stop func()) {
	t.Helper()
	to, err := syslog.ParseTarget(network + "://" + address)
	if err != nil {
		t.Fatal(err)
	}
	f = New(log, to, "phase-test", say)
	f.wait = time.Millisecond
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stop = func() {
		end()
		if err, ok := <-ended; ok && err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return f, stop
}

// All lines reach a server, before and after it is there, with who wrote each and how
// bad it is; also the last one before the end.
func TestForward(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			server, address, messages, err := receiver(network, "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			log := journal.NewLog(io.Discard, time.Now)
			fmt.Fprint(log, "one\nproblem: two\n")
			log.Add(journal.Line{Time: time.Unix(1e9, 0), Service: "update", Level: journal.Error, Text: "three"})
			f, stop := start(t, log, network, address, io.Discard)
			var got []string
			next := func() {
				m := <-messages
				got = append(got, fmt.Sprintf("%s %s %d %s", *m.Hostname, *m.Appname, *m.Severity, *m.Message))
			}
			for range 3 {
				next()
			}
			fmt.Fprint(log, "four\n")
			stop()
			next()
			const want = "phase-test plasmd 6 one|phase-test plasmd 4 problem: two|phase-test update 3 three|phase-test plasmd 6 four"
			if s := strings.Join(got, "|"); s != want {
				t.Errorf("got %s", s)
			}
			if c := f.Counts(); c["sent"] != 4 || c["lost"] != 0 {
				t.Errorf("%v", c)
			}
		})
	}
}

// A server that is away costs nothing until there is no room: then the oldest lines,
// which are counted and said. Nobody who writes waits meanwhile.
func TestServerAway(t *testing.T) {
	server, address, _, err := receiver("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Close() // the address is free, and nobody listens
	log := journal.NewLog(io.Discard, time.Now)
	said := make(chan string, 100)
	f, stop := start(t, log, "tcp", address, writer(func(p string) { said <- p }))
	fmt.Fprint(log, "the first\n")
	if problem := <-said; !strings.Contains(problem, "takes no lines") || !strings.Contains(problem, address) {
		t.Errorf("said: %s", problem)
	}
	const n = 5000
	for i := range n {
		fmt.Fprintf(log, "line %d %s\n", i, strings.Repeat("x", 400))
	}
	server, _, messages, err := receiver("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	last, lost, before := "", uint64(0), uint64(0)
	for got := uint64(0); !strings.HasPrefix(last, fmt.Sprintf("line %d ", n-1)); {
		last = *(<-messages).Message
		if _, err := fmt.Sscanf(last, "%d lines of the log were lost", &lost); err == nil {
			before = got
			continue
		}
		got++
		if lost > 0 && got == before+1 && !strings.HasPrefix(last, "line ") {
			t.Errorf("after the gap: %s", last)
		}
	}
	if lost == 0 || lost >= n || f.lost.Load() != lost {
		t.Errorf("%d lines were lost, counted %d", lost, f.lost.Load())
	}
	stop()
	if got := f.sent.Load(); got != n+1+1-lost { // the first line, and the one about the gap
		t.Errorf("%d were sent, %d lost", got, lost)
	}
	if len(said) > 0 {
		t.Errorf("it was said again: %s", <-said)
	}
}

// A server that restarts gets what comes afterwards.
func TestServerRestarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	log := journal.NewLog(io.Discard, time.Now)
	start(t, log, "tcp", l.Addr().String(), io.Discard)
	for i := range 3 {
		fmt.Fprintf(log, "line %d\n", i)
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		n, err := conn.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), fmt.Sprintf("line %d", i)) {
			t.Errorf("%q, %v", buf[:n], err)
		}
		// The next line is written when the forwarder has seen the end, and closed
		// its own side.
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}

// A server that never reads holds up nobody: the end comes.
func TestServerStuck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	log := journal.NewLog(io.Discard, time.Now)
	_, stop := start(t, log, "tcp", l.Addr().String(), io.Discard)
	conn, err := func() (net.Conn, error) { fmt.Fprint(log, "begin\n"); return l.Accept() }()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 20000 { // more than the buffers of a connection take
		fmt.Fprintf(log, "line %d %s\n", i, strings.Repeat("x", 400))
	}
	stop()
}

type writer func(string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}
