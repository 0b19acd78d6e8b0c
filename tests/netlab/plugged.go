package netlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Plug is the one interface of a program that has a network of its own.
type Plug struct {
	Interface string
	Addresses []string // in CIDR notation
	Gateway   string   // where all that is beyond them goes; "" for nowhere
}

const plugVar = "PHASE_NETLAB_PLUG"

// plugFD is where the TAP device is handed over.
const plugFD = 3

// Plugged is a program with a network of its own, in which nothing is but what
// reads and writes its TAP device.
type Plugged struct {
	TAP  *os.File      // Ethernet frames, one a read or write
	Done chan struct{} // closed when the program has ended

	cmd *exec.Cmd
	err error
}

// StartPlugged starts a program in a network namespace of its own, with one
// interface. It needs no root where users may make namespaces. The program of this
// process must begin with BecomePlugged. Path is absolute; the program's output
// goes to log.
func StartPlugged(p Plug, log *os.File, path string, args ...string) (*Plugged, error) {
	plug, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	near, far := os.NewFile(uintptr(ends[0]), "near"), os.NewFile(uintptr(ends[1]), "far")
	defer near.Close()
	r := &Plugged{Done: make(chan struct{}), cmd: exec.Command("/proc/self/exe", append([]string{path}, args...)...)}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr, r.cmd.ExtraFiles = append(os.Environ(), plugVar+"="+string(plug)), log, log, []*os.File{far}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		r.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		r.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		r.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	started := make(chan error)
	go r.live(started)
	err = <-started
	far.Close()
	if err != nil {
		return nil, fmt.Errorf("starting %s in a network of its own: %w", path, err)
	}
	if r.TAP, err = receiveFile(int(near.Fd())); err != nil {
		r.Close()
		return nil, fmt.Errorf("starting %s in a network of its own: %w; its log says why", path, err)
	}
	return r, nil
}

// live starts the program and waits for it on one thread: the signal at the
// parent's death is sent when the thread that started the child ends.
func (r *Plugged) live(started chan<- error) {
	defer close(r.Done)
	runtime.LockOSThread()
	err := r.cmd.Start()
	started <- err
	if err == nil {
		r.err = r.cmd.Wait()
	}
}

// Close ends the program in good order and returns how it ended.
func (r *Plugged) Close() error {
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-r.Done
	if r.TAP != nil {
		r.TAP.Close()
	}
	return r.err
}

// receiveFile takes the one file that is sent over a socket.
func receiveFile(socket int) (*os.File, error) {
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("it ended before it had its interface")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	// Its sender may have made it a blocking one.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "tap"), nil
}

// BecomePlugged turns this process into the program that StartPlugged names, if
// it was started for that.
func BecomePlugged() {
	text := os.Getenv(plugVar)
	if text == "" {
		return
	}
	os.Unsetenv(plugVar)
	err := becomePlugged([]byte(text))
	fmt.Fprintf(os.Stderr, "becoming %q: %v\n", os.Args[1:], err)
	os.Exit(1)
}

func becomePlugged(text []byte) error {
	var p Plug
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	tap, err := openTAP(p.Interface)
	if err != nil {
		return err
	}
	if err := errors.Join(raise("lo", nil), raise(p.Interface, p.Addresses)); err != nil {
		return err
	}
	if p.Gateway != "" {
		gateway, err := netip.ParseAddr(p.Gateway)
		if err != nil {
			return err
		}
		everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		if err := netlink.RouteAdd(&netlink.Route{Dst: everywhere, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("routing by %s: %w", gateway, err)
		}
	}
	if err := unix.Sendmsg(plugFD, []byte{0}, unix.UnixRights(int(tap.Fd())), nil, 0); err != nil {
		return fmt.Errorf("handing over the TAP device: %w", err)
	}
	unix.CloseOnExec(plugFD)
	return unix.Exec(os.Args[1], os.Args[1:], os.Environ())
}
