package verify

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"phase/tests/storetest"
)

// What verify prints and ends with is in tests/scripts/verify.txtar.

func TestCancel(t *testing.T) {
	dir := t.TempDir()
	signer := storetest.NewSigner(t)
	signer.Write(t, dir, signer.Release(t, "stable", "arm64", 42, storetest.Sizes))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	at := filepath.Join(dir, "stable", "arm64")
	args := []string{"--root", filepath.Join(dir, "root", "1.json"), filepath.Join(at, "manifest.json"), "--artifact", "kernel=" + filepath.Join(at, "vmlinuz")}
	if err := Run(ctx, args, nil, &bytes.Buffer{}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ends with %v", err)
	}
}
