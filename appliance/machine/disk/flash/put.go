package flash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Put writes a plan to a target and reads it back. stage is told what begins,
// "writing" or "reading back", each of Plan.Length bytes, and returns what is told
// how many bytes were done.
func (p *Plan) Put(ctx context.Context, target *Target, stage func(what string) (add func(n int64))) error {
	sum, err := p.Write(ctx, target, stage("writing"))
	if err == nil {
		err = target.Settle()
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", target.Name(), target.lost(err))
	}
	if err := p.Verify(ctx, target, sum, stage("reading back")); err != nil {
		return fmt.Errorf("checking %s: %w", target.Name(), target.lost(err))
	}
	target.Reread()
	return nil
}

// lost says in words what an error of the device means. What is half written is no
// disk that starts: its first sectors come last.
func (t *Target) lost(err error) error {
	if !t.device {
		return err
	}
	gone := errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENOMEDIUM)
	if real, linkErr := filepath.EvalSymlinks(t.Name()); linkErr != nil {
		gone = true
	} else if _, statErr := os.Stat(filepath.Join(class, filepath.Base(real))); statErr != nil {
		gone = true
	}
	switch {
	case gone:
		return fmt.Errorf("it was pulled out, or has switched itself off. What is on it is not whole, and nothing starts from it: plug it in and write it again (%w)", err)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EREMOTEIO):
		return fmt.Errorf("it was pulled out, or is broken. What is on it is not whole, and nothing starts from it: write it again, or take another one (%w)", err)
	}
	return err
}
