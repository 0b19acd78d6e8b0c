package qemu_test

import (
	"fmt"
	"io"
	"log"
	"net/http"

	"phase/qemu"
)

// Two hosts of this process meet on a segment, as machines do.
func ExampleSegment() {
	segment, err := qemu.NewSegment()
	if err != nil {
		log.Fatal(err)
	}
	defer segment.Close()
	server, err := segment.NewHost("server")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := server.Listen("[::]:8080")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello from "+server.Port().Name())
	}))
	answer, err := segment.HTTPClient().Get("http://[" + server.Addr6().String() + "]:8080/")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	fmt.Println(string(text), err)
	// Output: hello from server <nil>
}
