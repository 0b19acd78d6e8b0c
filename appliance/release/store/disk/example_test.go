package disk_test

import (
	"errors"
	"fmt"
	"io/fs"

	"phase/appliance/release/store/disk"
)

func ExampleOpen() {
	_, err := disk.Open("/nowhere")
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output: true
}
