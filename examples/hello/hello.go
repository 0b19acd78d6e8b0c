// Command hello reads all of its standard input and writes it back reversed,
// character by character (Unicode code points; a byte that is not UTF-8 counts
// as a character of its own). One line feed at the end stays at the end.
package main

import (
	"bytes"
	"io"
	"os"
	"unicode/utf8"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = reverse(os.Stdout, input)
	}
	if err != nil {
		// Without package fmt the module is an eighth smaller.
		os.Stderr.WriteString("hello: " + err.Error() + "\n")
		os.Exit(1)
	}
}

func reverse(to io.Writer, input []byte) error {
	text, ended := bytes.CutSuffix(input, []byte("\n"))
	out := make([]byte, 0, len(input))
	for len(text) > 0 {
		_, size := utf8.DecodeLastRune(text)
		out = append(out, text[len(text)-size:]...)
		text = text[:len(text)-size]
	}
	if ended {
		out = append(out, '\n')
	}
	_, err := to.Write(out)
	return err
}
