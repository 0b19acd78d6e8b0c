package status_test

import (
	"fmt"
	"net/http/httptest"
	"time"

	"phase/appliance/daemon/status"
	"phase/appliance/release/store"
)

// A node that holds nothing yet says so at /health.
func ExampleNew() {
	node := status.New(status.Config{
		Name: "phase-1a2b3c4d", Channel: "stable", Arch: "x86_64", Store: store.New(), Now: time.Now,
		Held: func() error { return fmt.Errorf("the releases held are still being hashed") },
	})
	w := httptest.NewRecorder()
	node.Pages(true)["/health"].ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
	fmt.Println(w.Code)
	fmt.Print(w.Body)
	// Output:
	// 503
	// {
	//   "status": "unhealthy",
	//   "checks": {
	//     "store": "the releases held are still being hashed"
	//   }
	// }
}
