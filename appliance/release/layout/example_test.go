package layout_test

import (
	"fmt"

	"phase/appliance/base/names"
	"phase/appliance/release/layout"
)

func Example() {
	fmt.Println(layout.Manifest("stable", "x86_64"))
	fmt.Println(layout.Artifact("stable", "x86_64", "kernel"))
	fmt.Println(layout.Root(1))
	fmt.Println(layout.Blob(names.Sum(nil)))
	// Output:
	// stable/x86_64/manifest.json
	// stable/x86_64/vmlinuz
	// root/1.json
	// blobs/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
}
