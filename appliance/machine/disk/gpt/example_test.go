package gpt_test

import (
	"fmt"
	"log"

	"phase/appliance/machine/disk/gpt"
)

func Example() {
	table := gpt.Table{ID: gpt.NewID([]byte("a disk")), Sectors: 1 << 16, Partitions: []gpt.Partition{
		{Number: 1, Name: "boot", Type: gpt.TypeEFI, First: 2048, Last: 32767},
		{Number: 2, Name: "data", Type: gpt.TypeLinux, First: 32768, Last: 63487},
	}}
	front, end, err := table.Encode(nil) // no boot loader
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(front)/gpt.SectorSize, "sectors at the front,", len(end)/gpt.SectorSize, "at the end")
	read, _, err := gpt.Decode(front)
	if err != nil {
		log.Fatal(err)
	}
	p, err := read.Partition(2)
	fmt.Println(p.Name, p.Size()>>20, "MiB", err)
	// Output:
	// 34 sectors at the front, 33 at the end
	// data 15 MiB <nil>
}
