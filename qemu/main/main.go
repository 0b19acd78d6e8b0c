// Command qemu starts one machine on a segment of its own, its serial console on the terminal and its HTTP on a port of
// this computer's loopback. It needs no root: the segment and its TCP/IP are in this process. There is no DHCP server and
// no way out to the internet.
package main

import "phase/appliance/base/program"

func main() { program.Main("qemu", run) }
