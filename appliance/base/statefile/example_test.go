package statefile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/statefile"
)

// One program writes a state file, and others read it.
func Example() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	written := statefile.Net{Problems: []string{"no cable"}, Interfaces: []statefile.Interface{}}
	if err := statefile.Write(dir, statefile.NetFile, written); err != nil {
		panic(err)
	}
	var read statefile.Net
	err = statefile.Read(dir, statefile.NetFile, &read)
	fmt.Println(read.Problems, err)
	// Output: [no cable] <nil>
}

func ExampleWriteNew() {
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "token")
	for _, text := range []string{"first", "second"} {
		err := statefile.WriteNew(path, []byte(text), 0o600)
		fmt.Println(text, errors.Is(err, fs.ErrExist))
	}
	data, err := statefile.ReadCapped(path, 64)
	fmt.Printf("%s, %v\n", data, err)
	// Output:
	// first false
	// second true
	// first, <nil>
}
