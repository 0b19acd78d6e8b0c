package names_test

import (
	"fmt"

	"phase/appliance/base/names"
)

func Example() {
	arch, err := names.ParseArch("aarch64")
	fmt.Println(arch, err)
	_, err = names.ParseChannel("beta")
	fmt.Println(err)
	// Output:
	// arm64 <nil>
	// channel "beta" is none of stable, testing, nightly
}

func ExampleDigest() {
	d := names.Sum([]byte("hello"))
	back, err := names.ParseDigest(d.String())
	fmt.Println(d)
	fmt.Println(back == d, err)
	// Output:
	// sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
	// true <nil>
}
