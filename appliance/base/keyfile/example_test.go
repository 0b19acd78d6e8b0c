package keyfile_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"phase/appliance/base/keyfile"
)

// A key is made once; after that the same one is read.
func Example() {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "node.pem")
	_, err = keyfile.Read(path)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	made, err := keyfile.Make(path, rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	again, err := keyfile.Make(path, rand.Reader)
	fmt.Println(made.Equal(again), err)
	// Output:
	// true
	// true <nil>
}
