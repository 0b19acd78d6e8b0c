package tasks_test

import (
	"context"
	"fmt"

	"phase/appliance/daemon/tasks"
)

// Two tasks of a daemon: the second waits for the first, and its end is the end
// of both.
func ExampleRun() {
	hashing := tasks.New(func(ctx context.Context, ready func()) error {
		fmt.Println("hashed what is held")
		ready()
		<-ctx.Done()
		return nil
	})
	announcing := tasks.New(func(context.Context, func()) error {
		fmt.Println("announced it")
		return nil
	})
	err := tasks.Run(context.Background(), []tasks.Row{
		{Name: "announcing", Task: announcing, After: hashing},
		{Name: "hashing", Task: hashing},
	})
	fmt.Println(err)
	// Output:
	// hashed what is held
	// announced it
	// <nil>
}
