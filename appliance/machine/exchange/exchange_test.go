package exchange

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type text struct {
	Text string `json:"text"`
}

func TestExchange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // as an earlier process may leave it
		t.Fatal(err)
	}
	l, err := Listen(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	after := make(chan struct{}, 1)
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- Serve(ctx, l, 1024, func(_ context.Context, uid uint32, question []byte, err error) (any, func()) {
			if err != nil {
				return text{err.Error()}, nil
			}
			if uid != uint32(os.Getuid()) {
				t.Errorf("uid %d", uid)
			}
			return text{string(question)}, func() { after <- struct{}{} }
		})
	}()
	var got text
	if err := Ask(t.Context(), path, text{"hello"}, &got, 1024); err != nil || got.Text != `{"text":"hello"}` {
		t.Errorf("answered %q, %v", got.Text, err)
	}
	<-after
	if err := Ask(t.Context(), path, text{strings.Repeat("x", 1025-len(`{"text":""}`))}, &got, 1024); err != nil || got.Text != "a request is at most 1 KiB" {
		t.Errorf("too long: %q, %v", got.Text, err)
	}
	if err := Ask(t.Context(), path, text{strings.Repeat("x", 900)}, &got, 100); err == nil {
		t.Error("an answer that is too long is read")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := Ask(t.Context(), path, text{}, &got, 1024); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody listens: %v", err)
	}
}
