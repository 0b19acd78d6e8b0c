package survey_test

import (
	"context"
	"fmt"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

// lan is a place to find providers.
type lan []survey.Announcement

func (l lan) Find(context.Context) (<-chan survey.Announcement, error) {
	found := make(chan survey.Announcement, len(l))
	for _, a := range l {
		found <- a
	}
	close(found)
	return found, nil
}

// Each provider is asked, and none is believed.
func Example() {
	s := survey.Survey{
		Finders: []survey.Finder{lan{
			{Key: "a", URLs: []string{"http://192.0.2.1:8080"}, Version: 99},
		}},
		Channel: "stable", Arch: "x86_64", Once: true, Look: time.Minute,
		Get: func(_ context.Context, url, channel, arch string) ([]byte, error) {
			fmt.Println("asked:", url, channel, arch)
			return []byte("not a manifest"), nil
		},
		Check: func(context.Context, string, string, string, []byte) (trust.Verified, error) {
			return trust.Verified{}, refusal.New(refusal.Format, "it is no manifest")
		},
	}
	err := s.Run(context.Background(), func(a survey.Answer) {
		fmt.Println(a.URL, a.Err)
	})
	fmt.Println(err)
	// Output:
	// asked: http://192.0.2.1:8080 stable x86_64
	// http://192.0.2.1:8080 it is no manifest (format)
	// <nil>
}
