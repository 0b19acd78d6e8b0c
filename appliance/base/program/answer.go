package program

import (
	"fmt"
	"io"

	"phase/appliance/base/strictjson"
)

// PrintJSON prints the answer of a program for other programs, as --json asks:
// one JSON value, indented, with a final newline.
func PrintJSON(stdout io.Writer, v any) error {
	data, err := strictjson.MarshalIndent(v)
	if err == nil {
		_, err = stdout.Write(data)
	}
	if err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}
