package update_test

import (
	"context"
	"fmt"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/update"
)

// A provider that cannot be asked costs a line; the node stays as it is.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := update.Updater{
		Channel: "stable", Arch: "x86_64", Providers: []string{"http://192.0.2.1:8080"},
		Failed: func(names.Digest) bool { return false },
		Now:    time.Now,
		Ask: func(context.Context, string, string, string) ([]byte, error) {
			return nil, refusal.New(refusal.Unreachable, "connection refused")
		},
		Report: func(u statefile.Update) {
			if u.Last != nil {
				fmt.Println(u.State, u.Last.Provider, u.Last.Result, u.Last.Code)
				cancel()
			}
		},
	}.Run(ctx)
	fmt.Println(err)
	// Output:
	// looking http://192.0.2.1:8080 refused unreachable
	// context canceled
}
