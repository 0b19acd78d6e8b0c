package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/mirror"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/survey"
	"phase/tests/storetest"
)

func Example() {
	t := storetest.Example{}
	signer := storetest.NewSigner(t)
	dir, err := os.MkdirTemp("", "mirror")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	known := walk.New(signer.Root)
	asked := errors.New("asked")
	ctx, cancel := context.WithCancelCause(context.Background())
	m := mirror.Mirror{
		Dir: filepath.Join(dir, layout.MirrorFolder), Channel: "stable", Arch: "arm64", Roots: known, Now: time.Now,
		Survey: &survey.Survey{Named: []string{"http://192.0.2.1:8080"}, Get: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			fmt.Println("asks", url, "for", channel, arch)
			cancel(asked)
			return nil, http.ErrServerClosed
		}},
	}
	fmt.Println(m.Run(ctx))
	// Output:
	// asks http://192.0.2.1:8080 for stable arm64
	// asked
}
