package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"phase/appliance/base/problem"
)

const (
	bundleType = "application/gzip"
	// MaxBundle is the most that is read of a support bundle.
	MaxBundle = 32 << 20
)

// bundling is there while a support bundle is made: one at a time.
var bundling atomic.Int32

// support answers GET /v1/support-bundle.
func (c Config) support(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	if c.Support == nil {
		problem.Write(w, http.StatusNotFound, "this daemon makes no support bundle")
		return nil
	}
	if !enter(w, &bundling, 1, "support bundle is being made") {
		return nil
	}
	defer bundling.Add(-1)
	w.Header().Set("Content-Type", bundleType)
	w.Header().Set("Content-Disposition", `attachment; filename="phase-support.tar.gz"`)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return nil
	}
	to := bufio.NewWriterSize(newPacedWriter(w), 64<<10)
	err := c.Support(r.Context(), to)
	if err == nil {
		err = to.Flush()
	}
	if err != nil {
		slog.Warn("support bundle", "error", err)
		panic(http.ErrAbortHandler) // what has begun cannot become another answer: the connection is closed
	}
	return nil
}

// Support writes the daemon's support bundle to w.
func (c *Client) Support(ctx context.Context, w io.Writer) error {
	resp, err := c.ask(ctx, http.MethodGet, "/v1/support-bundle", "", bundleType, http.NoBody)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(w, io.LimitReader(resp.Body, MaxBundle+1))
	if err == nil && n > MaxBundle {
		err = errors.New("it is larger than any bundle")
	}
	if err != nil {
		return fmt.Errorf("reading the support bundle: %w", err)
	}
	return nil
}

// pacedWriter is an answer that ends when nothing is taken of it for too long.
type pacedWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newPacedWriter(w http.ResponseWriter) pacedWriter {
	return pacedWriter{w, http.NewResponseController(w)}
}

func (p pacedWriter) Write(b []byte) (int, error) {
	// Where there are no deadlines, there is no connection to get stuck.
	_ = p.control.SetWriteDeadline(time.Now().Add(defaultPatience))
	return p.w.Write(b)
}
