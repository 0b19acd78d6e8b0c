package manifest_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"phase/appliance/release/manifest"
)

func Example() {
	m := manifest.Manifest{
		Version: 42, Name: "2026.11.23", Channel: "stable", Arch: "x86_64",
		Created: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Expires: time.Date(2027, 5, 23, 0, 0, 0, 0, time.UTC),
		Cmdline: "panic=10", Artifacts: map[string]manifest.Artifact{},
	}
	for _, name := range manifest.Required {
		a, err := manifest.Measure(context.Background(), strings.NewReader("the bytes of the "+name))
		if err != nil {
			fmt.Println(err)
			return
		}
		m.Artifacts[name] = a
	}
	payload, err := m.Payload()
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := manifest.Parse(payload)
	fmt.Println(again.Version, again.Artifacts["rootfs"].Size, err)

	delete(m.Artifacts, "rootfs")
	_, err = m.Payload()
	fmt.Println(err)
	// Output:
	// 42 23 <nil>
	// writing a manifest: artifact "rootfs" is missing or empty
}
