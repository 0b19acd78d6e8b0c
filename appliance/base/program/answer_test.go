package program_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"phase/appliance/base/program"
)

func ExamplePrintJSON() {
	err := program.PrintJSON(os.Stdout, struct {
		OK bool `json:"ok"`
	}{true})
	fmt.Println(err)
	// Output:
	// {
	//   "ok": true
	// }
	// <nil>
}

// An answer that nobody could read is an error.
func TestPrintJSONToAClosedPipe(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	if err := program.PrintJSON(w, 1); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("it ended with %v", err)
	}
}
