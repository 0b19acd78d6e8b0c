package fat_test

import (
	"fmt"
	"log"
	"os"
	"strings"

	"phase/appliance/machine/disk/fat"
)

func Example() {
	disk, err := os.CreateTemp("", "fat-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(disk.Name())
	defer disk.Close()
	const size = 8 << 20
	if err := disk.Truncate(size); err != nil {
		log.Fatal(err)
	}
	text := "phase.mode=local\n"
	_, err = fat.Write(disk, fat.Volume{Sector: 512, Size: size, Label: "PHASE"}, []fat.File{{
		Path: "settings/phase.conf", Size: int64(len(text)), From: strings.NewReader(text),
	}})
	if err != nil {
		log.Fatal(err)
	}
	files, err := fat.Read(disk, size)
	if err != nil {
		log.Fatal(err)
	}
	for path, at := range files {
		back := make([]byte, at.Size)
		if _, err := disk.ReadAt(back, at.Offset); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s holds %q\n", path, back)
	}
	// Output: settings/phase.conf holds "phase.mode=local\n"
}
