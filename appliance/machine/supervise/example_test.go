package supervise_test

import (
	"fmt"

	"phase/appliance/machine/supervise"
)

func Example() {
	lines := make(chan string, 1)
	services := &supervise.Set{Line: func(service, text string) {
		select {
		case lines <- service + ": " + text:
		default: // the example has read the one it wants
		}
	}}
	if err := services.Start(supervise.Service{Name: "echo", Path: "/bin/echo", Args: []string{"hello"}}); err != nil {
		panic(err)
	}
	fmt.Println(<-lines)
	services.Stop()
	// Output: echo: hello
}
