package prompt_test

import (
	"fmt"
	"os"
	"time"

	"phase/appliance/machine/prompt"
)

// wall is the time of this machine.
type wall struct{}

func (wall) Now() time.Time                         { return time.Now() }
func (wall) After(d time.Duration) <-chan time.Time { return time.After(d) }

// A pipe plays the keyboard of a console that shows nothing.
func ExampleAsk() {
	console, keyboard, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(keyboard, "x2")
	answer, err := prompt.Ask([]prompt.Console{console}, "1 or 2?", "12", time.Minute, wall{})
	fmt.Printf("%c %v\n", answer.Key, err)
	// Output: 2 <nil>
}
