package provide_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"phase/appliance/release/provide"
	"phase/appliance/release/store"
)

// A provider answers until its context ends, also while it holds nothing.
func ExampleServe() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		handler := provide.Handler(provide.Config{Store: store.New(), Channel: "stable", Arch: "x86_64"})
		ended <- provide.Serve(ctx, provide.NewServer(handler), listener, time.Second)
	}()
	resp, err := http.Get("http://" + listener.Addr().String() + "/manifest.json")
	if err != nil {
		panic(err)
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("Content-Type"))
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 404 application/problem+json
	// <nil>
}
