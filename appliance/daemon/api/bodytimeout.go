package api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// patience is how long a requester may send nothing of a request, or leave an
// event unread, before he counts as gone. Who is gone takes no place that
// others could have.
const patience = 30 * time.Second

// awaited is a request's body each piece of which must come within a time.
type awaited struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	over     bool // nothing is awaited any more
}

func (a *awaited) Read(p []byte) (int, error) {
	if !a.over {
		// Where there are no deadlines, there is no connection to get stuck.
		_ = a.control.SetReadDeadline(time.Now().Add(a.patience))
	}
	return a.ReadCloser.Read(p)
}

// unread is the error of a request of which a part could not be read.
func unread(what string, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &badRequest{http.StatusRequestTimeout, "reading " + what + ": nothing more of it has come for too long; send it again"}
	case errors.Is(err, io.EOF):
		return bad("reading %s: it ends where a part should begin; parts are told apart by the boundary that Content-Type names", what)
	}
	return bad("reading %s: %v", what, err)
}
