package config_test

import (
	"fmt"

	"phase/appliance/daemon/config"
)

// What the file says takes effect; what it leaves out is nil.
func ExampleParse() {
	c, err := config.Parse([]byte("http = \"127.0.0.1:8080\"\n[jobs]\ncores = 2\n"))
	if err != nil {
		panic(err)
	}
	fmt.Println(*c.HTTP, *c.Jobs.Cores, c.Jobs.MemoryMB == nil)
	_, err = config.Parse([]byte("[jobs]\ncores = 0\n"))
	fmt.Println(err)
	// Output:
	// 127.0.0.1:8080 2 true
	// jobs.cores: 0 is out of range, 1 to 1024 is allowed
}
