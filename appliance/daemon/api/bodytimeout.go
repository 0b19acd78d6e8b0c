package api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// defaultPatience is how long a requester may send nothing of a request, or read
// nothing of an answer, before it counts as gone. One that is gone takes no place
// that others could have.
const defaultPatience = 30 * time.Second

// bodyTimeout is a request's body each piece of which must come within a time.
type bodyTimeout struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	off      bool // a piece may take any time
}

func (b *bodyTimeout) Read(p []byte) (int, error) {
	if !b.off {
		// Where there are no deadlines, there is no connection to get stuck.
		_ = b.control.SetReadDeadline(time.Now().Add(b.patience))
	}
	return b.ReadCloser.Read(p)
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
