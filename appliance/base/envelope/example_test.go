package envelope_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"phase/appliance/base/envelope"
)

func Example() {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	public := key.Public().(ed25519.PublicKey)
	data, err := envelope.Sign("text/plain", []byte("hello"), key)
	if err != nil {
		panic(err)
	}
	e, err := envelope.Parse(data)
	if err != nil {
		panic(err)
	}
	signers := e.SignedBy(map[string]ed25519.PublicKey{envelope.KeyID(public): public})
	fmt.Printf("%s %q, signed by %.8s…\n", e.PayloadType, e.Payload, signers[0])
	// Output: text/plain "hello", signed by 34750f98…
}

func ExamplePAE() {
	fmt.Printf("%s\n", envelope.PAE("text/plain", []byte("hello")))
	// Output: DSSEv1 10 text/plain 5 hello
}
