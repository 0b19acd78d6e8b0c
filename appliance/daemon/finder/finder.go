// Package finder finds releases by asking the daemon of this machine, which is
// in the network of nodes, over its socket; and reaches through it the peers
// that have no HTTP address which this machine reaches.
package finder

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"phase/appliance/daemon/api"
	"phase/appliance/network/releases"
	"phase/appliance/release/fetch"
	"phase/appliance/release/survey"
)

// Times before the daemon is asked again, after it could not be.
const (
	firstAgain   = 500 * time.Millisecond
	longestAgain = time.Minute
	lastsLong    = 10 * time.Second // an answer of so long was a good one
)

// Finder finds what the daemon finds, for package survey.
type Finder struct {
	client        *api.Client
	channel, arch string
}

// New returns a Finder by the daemon whose socket is at path, of one channel and
// for one arch, of any where those are "".
func New(socket, channel, arch string) Finder {
	return Finder{api.NewClient(socket), channel, arch}
}

// Find announces what the daemon finds until ctx ends. A daemon that does not
// answer is asked again, less and less often; why it does not is logged once.
func (f Finder) Find(ctx context.Context) (<-chan survey.Announcement, error) {
	out := make(chan survey.Announcement)
	go func() {
		defer close(out)
		pause, said := firstAgain, ""
		for {
			began := time.Now()
			err := f.client.Releases(ctx, f.channel, f.arch, func(found api.Found) bool {
				select {
				case out <- found.Announcement():
				case <-ctx.Done():
				}
				return ctx.Err() == nil
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil && err.Error() != said && !soon(err) {
				said = err.Error()
				slog.Warn("looking for releases beyond the local network", "error", err)
			}
			if time.Since(began) > lastsLong {
				pause, said = firstAgain, ""
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, longestAgain)
		}
	}()
	return out, nil
}

// soon says that a daemon asks for patience: its host comes up after its HTTP.
func soon(err error) bool {
	var refused *api.Refused
	return errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable
}

// Way reaches peers through the daemon whose socket is at path, by the URLs of
// releases.StreamURL.
func Way(socket string) fetch.Way {
	return releases.Through(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}, api.PeerPath)
}
