package problem_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"phase/appliance/base/problem"
)

func ExampleWriteCode() {
	w := httptest.NewRecorder()
	problem.WriteCode(w, http.StatusServiceUnavailable, "busy", "all workers are in use; ask again later")
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	fmt.Print(w.Body)
	// Output:
	// 503 application/problem+json
	// {"type":"about:blank","title":"Service Unavailable","status":503,"detail":"all workers are in use; ask again later","code":"busy"}
}
