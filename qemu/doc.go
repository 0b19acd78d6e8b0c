// Package qemu starts real machines in QEMU and lets a test, the demo or a person watch them: the serial console
// comes as events with their history, and each network segment is a small switch in this process, so that frames can
// be captured, delayed, dropped and cut off, and so that this process can sit on the segment as a host of its own
// (user-space TCP/IP, no root, no tap device, no DHCP server). Machines die with the process that started them.
package qemu
