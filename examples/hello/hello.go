// Command hello reads all of its standard input and writes it back reversed,
// character by character (Unicode code points; a byte that is not UTF-8 counts
// as a character of its own). One line feed at the end stays at the end.
package main

import (
	"bufio"
	"bytes"
	"fmt"
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
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func reverse(to io.Writer, input []byte) error {
	text, ended := bytes.CutSuffix(input, []byte("\n"))
	out := bufio.NewWriter(to)
	for len(text) > 0 {
		_, size := utf8.DecodeLastRune(text)
		out.Write(text[len(text)-size:]) // its error stays with out until Flush
		text = text[:len(text)-size]
	}
	if ended {
		out.WriteByte('\n')
	}
	return out.Flush()
}
