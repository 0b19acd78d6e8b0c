//go:build wasip1

// Command probe is the module that the tests run: each word does one thing.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if os.Args[1] == "steps" { // each argument is a step; its line says how it went
		for _, step := range os.Args[2:] {
			words := strings.Fields(step)
			if err := do(words[0], words[1:]); err != nil {
				fmt.Printf("refused: %v", err)
			}
			fmt.Println()
		}
		return
	}
	if err := do(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func do(word string, args []string) error {
	switch word {
	case "wasi":
		wasi()
	case "pwrite": // past Go's own check, to a file that is appended to
		f, err := os.OpenFile(args[0], os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err == nil {
			_, err = f.WriteString("first")
		}
		if err != nil {
			return err
		}
		_, err = syscall.Pwrite(int(f.Fd()), []byte("second"), 0)
		return err
	case "args":
		fmt.Printf("%q %q\n", os.Args, os.Environ())
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "both": // every byte there is, on both streams
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		os.Stdout.Write(all)
		os.Stderr.Write(bytes.Repeat(all, 2))
	case "exit":
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "read":
		data, err := os.ReadFile(args[0])
		os.Stdout.Write(data)
		return err
	case "write":
		return os.WriteFile(args[0], []byte(args[1]), 0o644)
	case "mkdir":
		return os.Mkdir(args[0], 0o755)
	case "rm":
		return os.Remove(args[0])
	case "mv":
		return os.Rename(args[0], args[1])
	case "ln":
		return os.Symlink(args[0], args[1])
	case "link":
		return os.Link(args[0], args[1])
	case "readlink":
		target, err := os.Readlink(args[0])
		fmt.Print(target)
		return err
	case "stat":
		info, err := os.Stat(args[0])
		if err == nil {
			fmt.Print(info.Size())
		}
		return err
	case "touch":
		t := time.Unix(1000000000, 0)
		return os.Chtimes(args[0], t, t)
	case "truncate":
		return os.Truncate(args[0], 0)
	case "append":
		f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(args[1])
		return err
	case "ls":
		return filepath.Walk(args[0], func(name string, _ os.FileInfo, err error) error {
			fmt.Print(name, ",")
			return err
		})
	case "sleep":
		fmt.Println("asleep")
		<-time.After(time.Hour) // until it is killed
	case "grow":
		var kept [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "dial":
		_, err := os.OpenFile("/dev/tcp", os.O_RDWR, 0)
		return err
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	return nil
}
