package provide

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"phase/tests/storetest"
)

// process is a real plasmd in a process of its own that serves one release, and
// the folder it serves.
type process struct {
	*exec.Cmd
	addr, dir string
}

func startProvider(b *testing.B, env ...string) process {
	b.Helper()
	dir, program := b.TempDir(), filepath.Join(b.TempDir(), "phase")
	signer := storetest.NewSigner(b)
	signer.Write(b, dir, signer.Release(b, "stable", "x86_64", 7, map[string]int{"kernel": 1 << 20, "initramfs": 1 << 20, "rootfs": 64 << 20}))
	if out, err := exec.Command("go", "build", "-o", program, "phase/programs/phase").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	p := process{exec.Command(program, "plasmd", "serve", "-a", dir, "-b", "127.0.0.1", "-p", "0", "--no-mdns"), "", dir}
	p.Env = append(os.Environ(), env...)
	log, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "serving http on "); ok {
			p.addr = addr
		}
		if strings.HasPrefix(lines.Text(), "holds release ") {
			return p
		}
	}
	b.Fatal("plasmd ended")
	return p
}

// resident is how much memory a process has, in bytes.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	kib, err := strconv.ParseFloat(string(regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(text)[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib * 1024
}

// BenchmarkStalled downloads beside clients that have asked for an artifact and
// read nothing of it.
func BenchmarkStalled(b *testing.B) {
	p := startProvider(b)
	for _, clients := range []int{0, 1000} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			for range clients {
				conn, err := net.Dial("tcp", p.addr)
				if err == nil {
					err = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
				}
				if err == nil {
					_, err = io.WriteString(conn, "GET /stable/x86_64/rootfs HTTP/1.1\r\nHost: x\r\n\r\n")
				}
				if err == nil {
					_, err = conn.Read(make([]byte, 1)) // it is being sent
				}
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
			}
			b.SetBytes(64 << 20)
			for b.Loop() {
				resp, err := http.Get("http://" + p.addr + "/stable/x86_64/rootfs")
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 64<<20 {
					b.Fatal(n, err)
				}
				resp.Body.Close()
			}
			b.ReportMetric(resident(b, p.Process.Pid)/(1<<20), "MiB-resident")
		})
	}
}

// BenchmarkManifest compares plasmd on one processor with one worker of nginx:
// requests for a manifest over 64 connections that stay open. What counts is the
// processor time of the server for a request; the client takes some, too.
func BenchmarkManifest(b *testing.B) {
	p := startProvider(b, "GOMAXPROCS=1")
	b.Run("plasmd", func(b *testing.B) { askForManifests(b, p.addr, p.Process.Pid) })
	b.Run("nginx", func(b *testing.B) {
		program, err := exec.LookPath("nginx")
		if err != nil {
			program = "/usr/sbin/nginx"
		}
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		addr := free.Addr().String()
		free.Close()
		conf := filepath.Join(b.TempDir(), "nginx.conf")
		text := fmt.Sprintf("master_process off; daemon off; error_log /dev/null; pid %s.pid; events {} http { access_log off; sendfile on; "+
			"keepalive_requests 1000000000; default_type application/json; server { listen %s; root %s; } }", conf, addr, p.dir)
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		nginx := exec.Command(program, "-c", conf)
		if err := nginx.Start(); err != nil {
			b.Skip("nginx is not installed: ", err)
		}
		defer func() {
			_ = nginx.Process.Kill()
			_ = nginx.Wait()
		}()
		for { // an attempt at a time, not a sleep
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
				break
			}
			if nginx.Process.Signal(nil) == os.ErrProcessDone {
				b.Fatal("nginx ended")
			}
		}
		askForManifests(b, addr, nginx.Process.Pid)
	})
}

func askForManifests(b *testing.B, addr string, pid int) {
	request := []byte("GET /stable/x86_64/manifest.json HTTP/1.1\r\nHost: x\r\n\r\n")
	ask := func(conn net.Conn, answer []byte) (int, error) {
		if _, err := conn.Write(request); err != nil {
			return 0, err
		}
		if answer[0] == 0 { // the first one: of what length are they?
			n, err := io.ReadAtLeast(conn, answer, 1)
			for err == nil && !bytes.HasSuffix(answer[:n], []byte("}\n")) && !bytes.HasSuffix(answer[:n], []byte("}")) {
				var more int
				more, err = conn.Read(answer[n:])
				n += more
			}
			return n, err
		}
		return io.ReadFull(conn, answer)
	}
	const clients = 64
	var all sync.WaitGroup
	var asked atomic.Int64
	before := processorTime(pid)
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			answer := make([]byte, 64<<10)
			for asked.Add(1) <= int64(b.N) {
				n, err := ask(conn, answer)
				if answer = answer[:n]; err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 OK\r\n")) {
					b.Errorf("%.40q, %v", answer, err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric((processorTime(pid)-before)/float64(b.N), "server-ns/op")
}

// processorTime is that of all threads of a process, in nanoseconds.
func processorTime(pid int) (sum float64) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range files {
		text, _ := os.ReadFile(name) // a thread may have ended
		ns, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseFloat(ns, 64)
		sum += n
	}
	return sum
}
