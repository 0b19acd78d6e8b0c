package control_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/machine/control"
	"phase/appliance/machine/supervise"
)

// Init answers on its socket, and a program asks for the state of the services.
func Example() {
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "init.sock")
	l, err := control.Listen(socket)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- control.Serve(ctx, l, func(r control.Request) (control.Response, func()) {
			return control.Response{OK: r.Do == control.Status, Services: []supervise.Status{{Name: "plasmd", PID: 42}}}, nil
		})
	}()
	answer, err := control.Do(ctx, socket, control.Request{Do: control.Status})
	fmt.Println(answer.Services[0].Name, answer.Services[0].PID, err)
	stop()
	fmt.Println(<-ended)
	// Output:
	// plasmd 42 <nil>
	// <nil>
}
