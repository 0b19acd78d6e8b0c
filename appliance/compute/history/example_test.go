package history_test

import (
	"fmt"
	"time"

	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
)

// A run is recorded when it is admitted and when it has ended; its nonce is
// never admitted again.
func ExampleHistory() {
	h, err := history.Open("", history.Limits{Runs: 100, Bytes: 1 << 20, Nonces: 1000}) // in memory
	if err != nil {
		panic(err)
	}
	defer h.Close()
	nonce := make([]byte, 16) // in life the requester chose it
	run := history.Entry{Run: history.Run{RunID: "71", State: history.Queued, Queued: time.Now()}, Job: []byte("{}")}
	if err := h.Begin(run, nonce); err != nil {
		panic(err)
	}
	outcome, code := job.Exited, uint32(0)
	run.State, run.Outcome, run.ExitCode, run.Receipt = history.Done, &outcome, &code, []byte(`{"payload": "…"}`)
	if err := h.End(run); err != nil {
		panic(err)
	}
	kept, err := h.Get("71")
	if err != nil {
		panic(err)
	}
	fmt.Println(kept.State, *kept.Outcome, len(kept.Receipt) > 0)
	fmt.Println(h.Begin(history.Entry{Run: history.Run{RunID: "72"}}, nonce))
	// Output:
	// done exited true
	// this offer has been run already
}
