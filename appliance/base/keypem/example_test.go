package keypem_test

import (
	"crypto/ed25519"
	"fmt"

	"phase/appliance/base/keypem"
)

func Example() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	text, err := keypem.EncodePublic(key.Public().(ed25519.PublicKey))
	fmt.Print(string(text))
	read, also := keypem.DecodePublic(text)
	fmt.Println(err, also, read.Equal(key.Public()))
	// Output:
	// -----BEGIN PUBLIC KEY-----
	// MCowBQYDK2VwAyEAO2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=
	// -----END PUBLIC KEY-----
	// <nil> <nil> true
}
