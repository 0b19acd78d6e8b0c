// Command intruder tries, as whoever it runs as, all that plasmd may not do on a
// node when somebody else has taken it over: to write what other programs own, to
// read what is theirs alone, to load a kernel, to stop programs, and to have init
// do it. Each try is a line of its output, "done" where it went through.
package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"phase/appliance/machine/control"
)

// own are the folders that are plasmd's.
var own = []string{"/run/phase/plasmd", "/perm/phase/plasmd", "/proc", "/sys", "/dev", "/tmp"}

// The arguments are the ids of processes that are others'.
func main() {
	walk()
	system()
	for _, text := range os.Args[1:] {
		pid, err := strconv.Atoi(text)
		if err == nil {
			err = syscall.Kill(pid, 0)
		}
		tell("signal a program", err)
		tell("trace a program", syscall.PtraceAttach(pid))
	}
	for _, do := range []string{control.Kexec, control.Reboot, control.PowerOff, control.Pause, control.Logs} {
		_, err := control.Do(context.Background(), control.Socket, control.Request{Do: do, Service: "update"})
		tell("ask init for "+do, err)
	}
	fmt.Println("that is all")
}

func tell(what string, err error) {
	if err == nil {
		fmt.Println("done: " + what)
		return
	}
	fmt.Printf("refused: %s: %v\n", what, err)
}

// walk tries every file and folder that is not plasmd's.
func walk() {
	count := map[string]int{}
	_ = filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		for _, o := range own {
			if path == o {
				return filepath.SkipDir
			}
		}
		if err != nil { // it cannot even be listed
			count["list"]++
			return fs.SkipDir
		}
		what := "write"
		if d.IsDir() {
			what = "create in"
			if f, err := os.Create(filepath.Join(path, "intruder")); err == nil {
				f.Close()
				fmt.Println("done: create in " + path)
			}
			if err := os.Rename(path, path+"-taken"); err == nil {
				fmt.Println("done: rename " + path)
			}
		} else if f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			f.Close()
			fmt.Println("done: write " + path)
		}
		if strings.HasSuffix(path, ".key") || strings.HasSuffix(path, ".pem") {
			_, err := os.ReadFile(path)
			tell("read "+path, err)
		}
		count[what]++
		return nil
	})
	fmt.Printf("refused: write %d files, create in %d folders\n", count["write"], count["create in"])
}

// system makes the calls that only root may make.
func system() {
	tell("mount", syscall.Mount("none", "/tmp", "tmpfs", 0, ""))
	tell("reboot", syscall.Reboot(syscall.LINUX_REBOOT_CMD_CAD_OFF))
	tell("become root", syscall.Setuid(0))
	for name, call := range map[string]uintptr{"load a kernel": sysKexecLoad, "load a kernel from a file": sysKexecFileLoad, "load a module": syscall.SYS_INIT_MODULE} {
		// Arguments that nothing comes of where the call is allowed.
		_, _, errno := syscall.Syscall6(call, 1<<20, 1<<20, uintptr(unsafe.Pointer(new(byte))), 0xffff, 0, 0)
		if errno == syscall.EPERM || errno == syscall.ENOSYS || errno == syscall.EACCES {
			tell(name, errno)
			continue
		}
		tell(name, nil)
	}
}
