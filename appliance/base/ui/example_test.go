package ui_test

import (
	"fmt"
	"os"
	"time"

	"phase/appliance/base/ui"
)

func Example() {
	fmt.Println(ui.Bytes(17301504), ui.Duration(4200*time.Millisecond), ui.Count(2, "provider"))
	fmt.Println(ui.Clean("a name\nwith \x1b[2J in it"))
	// Output:
	// 16.5 MiB 4.2 s 2 providers
	// a name with  [2J in it
}

func ExampleTable() {
	if err := ui.Table(os.Stdout, [][]string{{"NAME", "SIZE"}, {"kernel", "16.0 MiB"}, {"rootfs", "9.3 MiB"}}); err != nil {
		panic(err)
	}
	// Output:
	// NAME    SIZE
	// kernel  16.0 MiB
	// rootfs  9.3 MiB
}
