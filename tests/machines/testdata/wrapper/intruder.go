package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// intrude tries, as plasmd's user and before plasmd builds walls around itself, what
// one who has taken plasmd over would: it prints what it could do.
func intrude() {
	create := func(path string) func() error {
		return func() error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
	}
	call := func(number uintptr, args ...uintptr) func() error {
		return func() error {
			var a [6]uintptr
			copy(a[:], args)
			if _, _, no := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); no != 0 {
				return no
			}
			return nil
		}
	}
	offences := map[string]func() error{
		"add a manifest to the store":    create("/perm/phase/store/releases/" + strings.Repeat("0", 64) + ".json"),
		"add a blob to the store":        create("/perm/phase/store/blobs/sha256/" + strings.Repeat("0", 64)),
		"hold the node on a release":     create("/perm/phase/store/pin.json"),
		"write the journal of trials":    create("/perm/phase/trials.json"),
		"write what the machine had":     create("/perm/phase/had.json"),
		"write to the boot partition":    create("/boot/phase.conf"),
		"write the boot disk":            create("/dev/vda"),
		"write the state of the updates": create("/run/phase/update/update.json"),
		"write the state of the machine": create("/run/phase/boot.json"),
		"open the watchdog":              create("/dev/watchdog"),
		"write a kernel setting":         create("/proc/sys/kernel/hostname"),
		"remove the store":               func() error { return os.Rename("/perm/phase/store", "/perm/phase/gone") },
		"load a kernel":                  call(kexec.load),
		"load a kernel from a file":      call(kexec.fileLoad, ^uintptr(0), ^uintptr(0), 0, 0, 1),
		"restart the machine":            func() error { return syscall.Reboot(syscall.LINUX_REBOOT_CMD_CAD_OFF) },
		"mount":                          func() error { return syscall.Mount("none", "/run/phase/plasmd", "tmpfs", 0, "") },
		"set the clock":                  func() error { return syscall.Settimeofday(&syscall.Timeval{Sec: 1}) },
		"become root":                    func() error { return syscall.Setuid(0) },
		"end init":                       func() error { return syscall.Kill(1, 0) },
		"make a device":                  func() error { return syscall.Mknod("/run/phase/plasmd/disk", syscall.S_IFBLK|0o600, 254<<8) },
		"have init jump":                 asks(`{"do":"kexec","trial":"sha256:` + strings.Repeat("0", 64) + `"}`),
		"have init restart":              asks(`{"do":"reboot"}`),
		"have init pause the services":   asks(`{"do":"pause"}`),
	}
	var could []string
	for what, do := range offences {
		if do() == nil {
			could = append(could, what)
		}
	}
	blobs, _ := filepath.Glob("/perm/phase/store/blobs/sha256/*") // that there is a store to break
	fmt.Printf("intruder: tried %d things beside %d blobs and could do %d: %q\n", len(offences), len(blobs), len(could), could)
}

// asks has init do something.
func asks(request string) func() error {
	return func() error {
		conn, err := net.Dial("unix", "/run/phase/init.sock")
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request+"\n"); err != nil {
			return err
		}
		_ = conn.(*net.UnixConn).CloseWrite()
		var answer struct {
			OK bool `json:"ok"`
		}
		if err := json.NewDecoder(conn).Decode(&answer); err != nil {
			return err
		}
		if !answer.OK {
			return errors.New("refused")
		}
		return nil
	}
}

// kexec are the numbers of kexec_load(2) and kexec_file_load(2).
var kexec = map[string]struct{ load, fileLoad uintptr }{"amd64": {246, 320}, "arm64": {104, 294}}[runtime.GOARCH]
