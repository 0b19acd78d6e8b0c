package gpt_test

import (
	"bytes"
	"fmt"
	"log"

	"phase/appliance/machine/disk/gpt"
)

func Example() {
	table := gpt.Table{ID: gpt.NewID([]byte("a disk")), Geometry: gpt.Geometry{Sector: gpt.Sector512, Size: 32 << 20}, Partitions: []gpt.Partition{
		{Number: 1, Name: "boot", Type: gpt.TypeEFI, Start: 1 << 20, Size: 15 << 20},
		{Number: 2, Name: "data", Type: gpt.TypeLinux, Start: 16 << 20, Size: 15 << 20},
	}}
	front, end, err := table.Encode(nil) // no boot loader
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(front), "bytes at the front,", len(end), "at the end")
	read, _, err := gpt.Read(bytes.NewReader(front))
	if err != nil {
		log.Fatal(err)
	}
	p, err := read.Partition(2)
	fmt.Println(p.Name, p.Size>>20, "MiB", err)
	// Output:
	// 17408 bytes at the front, 16896 at the end
	// data 15 MiB <nil>
}
