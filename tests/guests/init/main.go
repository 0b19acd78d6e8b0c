// Init is what the machines of this package's tests run as their only program: it does what it is told on the serial
// console, a line at a time, and answers there; over HTTP it answers on port 8080.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const variable = "/sys/firmware/efi/efivars/PhaseTest-6c1d2a0e-3f5b-4b43-9d0e-5a1f6f0c7e21"

func main() {
	for _, m := range [][3]string{{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"},
		{"efivarfs", "/sys/firmware/efi/efivars", "efivarfs"}} {
		os.MkdirAll(m[1], 0o755)
		unix.Mount(m[0], m[1], m[2], 0, "")
	}
	say := func(format string, args ...any) { fmt.Printf("init: "+format+"\n", args...) }
	say("hello, EFI %v", exists("/sys/firmware/efi"))
	if err := network(); err != nil {
		say("network: %v", err)
	}
	if l, err := net.Listen("tcp", ":8080"); err != nil {
		say("listening: %v", err)
	} else {
		go http.Serve(l, handler())
	}
	buttons(say)
	// From here on the kernel says what is notable and no more: it writes on the
	// same console, and into the middle of a line of ours.
	unix.Klogctl(unix.SYSLOG_ACTION_CONSOLE_LEVEL, make([]byte, 6))
	say("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) == 0 {
			continue
		}
		answer, err := do(words[0], strings.Join(words[1:], " "))
		if err != nil {
			answer = "error: " + err.Error()
		}
		say("%s: %s", words[0], answer)
	}
	select {}
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

func do(what, arg string) (string, error) {
	switch what {
	case "echo":
		return arg, nil
	case "poweroff":
		return "", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case "reboot":
		return "", unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	case "write": // to the first sector of the disk, flushed
		return "done", write("/dev/vda", append([]byte(arg), 0))
	case "read":
		b, err := read("/dev/vda", 512)
		return string(bytes.SplitN(b, []byte{0}, 2)[0]), err
	case "setvar":
		return "done", os.WriteFile(variable, append([]byte{7, 0, 0, 0}, arg...), 0o600)
	case "getvar":
		b, err := os.ReadFile(variable)
		return string(b[min(4, len(b)):]), err
	case "date":
		return time.Now().UTC().Format(time.RFC3339), nil
	case "kmsg":
		return "done", write("/dev/kmsg", []byte("<5>test: "+arg+"\n")) // without its end the kernel holds the line back
	case "watchdog": // let it expire
		f, err := os.OpenFile("/dev/watchdog", os.O_WRONLY, 0)
		if err != nil {
			return "", err
		}
		return "armed", unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, 2)
	case "hash":
		n, err := strconv.Atoi(arg)
		start, h, b := time.Now(), sha256.New(), make([]byte, 1<<20)
		for range n {
			h.Write(b)
		}
		return fmt.Sprintf("%d MB in %.2f s", n, time.Since(start).Seconds()), err
	case "get":
		start := time.Now()
		r, err := http.Get(arg)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		n, err := io.Copy(io.Discard, r.Body)
		return fmt.Sprintf("%d bytes in %.2f s", n, time.Since(start).Seconds()), err
	case "ls":
		names, err := filepath.Glob(arg)
		return strings.Join(names, " "), err
	case "carrier":
		b, err := os.ReadFile("/sys/class/net/eth0/carrier")
		return strings.TrimSpace(string(b)), err
	}
	return "", fmt.Errorf("unknown")
}

func write(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if strings.HasPrefix(name, "/dev/vd") {
		return f.Sync()
	}
	return nil
}

func read(name string, n int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = io.ReadFull(f, b)
	return b, err
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s\n", r.RemoteAddr) })
	mux.HandleFunc("/blob", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("mb"))
		b := make([]byte, 1<<20)
		for range n {
			w.Write(b)
		}
	})
	return mux
}

// network brings every card up and waits until each has its link-local address. Duplicate address detection is off: a second in each test for nothing.
func network() error {
	cards, err := net.Interfaces()
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	events, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	if err := unix.Bind(events, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV6_IFADDR}); err != nil {
		return err
	}
	waiting := 0
	for _, c := range cards {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+c.Name+"/accept_dad", []byte("0"), 0)
		req, _ := unix.NewIfreq(c.Name)
		req.SetUint16(unix.IFF_UP)
		if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		waiting++ // also for lo, which gets ::1
	}
	for b := make([]byte, 16<<10); waiting > 0; {
		n, _, err := unix.Recvfrom(events, b, 0)
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type == unix.RTM_NEWADDR {
				waiting--
			}
		}
	}
	return nil
}

// buttons says when the power button is pressed (EV_KEY 1, KEY_POWER 116 of linux/input-event-codes.h).
func buttons(say func(string, ...any)) {
	files, _ := filepath.Glob("/dev/input/event*")
	for _, name := range files {
		f, err := os.Open(name) // now, so that no press is lost once init says that it is ready
		if err != nil {
			continue
		}
		go func() {
			var e struct {
				Sec, Usec  int64
				Type, Code uint16
				Value      int32
			}
			for binary.Read(f, binary.LittleEndian, &e) == nil {
				if e.Type == 1 && e.Code == 116 && e.Value == 1 {
					say("power button")
				}
			}
		}()
	}
}
