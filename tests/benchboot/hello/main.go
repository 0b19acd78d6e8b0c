// Command hello stands for gokrazy's own hello program in make bench-boot: it
// says that it runs, through the kernel's log, so that the line has the kernel's
// time like those of our programs, and stays.
package main

import (
	"log"
	"os"
	"os/signal"
)

func main() {
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		log.Fatal(err)
	}
	// In one write, which is one line; <5> is the level of init's lines.
	if _, err := kmsg.WriteString("<5>hello: first program\n"); err != nil {
		log.Fatal(err)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt)
	<-end
}
