package diskimage_test

import (
	"fmt"
	"strings"

	"phase/appliance/release/diskimage"
)

// The settings of a stick always take the same room.
func ExampleConf() {
	conf, err := diskimage.Conf([]string{"phase.mode=local"})
	fmt.Println(len(conf), strings.Contains(string(conf), "\nphase.mode=local\n"), err)
	_, err = diskimage.Conf([]string{"phase.mode=loud"})
	fmt.Println(err != nil)
	// Output:
	// 4096 true <nil>
	// true
}
