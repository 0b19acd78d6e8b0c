package exchange_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/machine/exchange"
)

func Example() {
	dir, err := os.MkdirTemp("", "exchange")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	l, err := exchange.Listen(filepath.Join(dir, "s"), 0o600)
	if err != nil {
		panic(err)
	}
	defer l.Close()
	go exchange.Serve(context.Background(), l, 1024, func(_ context.Context, _ uint32, question []byte, _ error) (any, func()) {
		return map[string]int{"bytes": len(question)}, nil
	})
	var answer map[string]int
	err = exchange.Ask(context.Background(), filepath.Join(dir, "s"), "hello", &answer, 1024)
	fmt.Println(answer, err)
	// Output: map[bytes:7] <nil>
}
