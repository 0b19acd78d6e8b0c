package remotetrials_test

import (
	"fmt"
	"net/http/httptest"

	"phase/appliance/base/names"
	"phase/appliance/release/trial/remotetrials"
)

// A provider counts for a machine that cannot store what it tried.
func ExampleCounter() {
	release := names.Sum([]byte("manifest"))
	holds := func(d names.Digest) bool { return d == release }
	var counter remotetrials.Counter
	for _, state := range []string{"asked", "begun", "asked", "good", "asked"} {
		request := httptest.NewRequest("GET", "/stable/x86_64/manifest.json", nil)
		request.Header.Set("Phase-Trial", release.String()+"; "+state+"; "+remotetrials.Name([]byte("serial number"), release))
		answer := httptest.NewRecorder()
		counter.Answer(answer, request, holds)
		fmt.Println(state, answer.Header().Get("Phase-Tries"))
	}
	// Output:
	// asked 0
	// begun 1
	// asked 1
	// good 0
	// asked 0
}
