package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/machine/control"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/release/operator"
)

// Updater asks for something of the updates of this node, or with on of the node
// that has that peer id. The error is a *operator.Refused.
type Updater interface {
	Do(ctx context.Context, on string, q operator.Question) (operator.Answer, error)
}

// Updated is the answer of the routes below /v1/update.
type Updated struct {
	Did    string          `json:"did"` // in words; "" where nothing was to be done
	Report operator.Report `json:"report"`
	// Disks and Installed are there when disks are asked for.
	Disks     []flash.Candidate     `json:"disks,omitempty"`
	Installed *control.Installation `json:"installed,omitempty"`
}

// updateStatuses are the HTTP statuses of refused requests.
var updateStatuses = map[string]int{
	operator.NotAuthorized: http.StatusForbidden, operator.InvalidRequest: http.StatusBadRequest, operator.Busy: http.StatusServiceUnavailable,
	operator.Conflict: http.StatusConflict, operator.NotANode: http.StatusNotFound, operator.Unreachable: http.StatusBadGateway,
}

// updateStatus answers GET /v1/update.
func (c Config) updateStatus(w http.ResponseWriter, r *http.Request) error {
	return c.update(w, r, operator.Status)
}

// updateDo answers POST /v1/update/{do}.
func (c Config) updateDo(w http.ResponseWriter, r *http.Request) error {
	do := r.PathValue("do")
	if do == operator.Status || !slices.Contains(operator.Actions, do) {
		problem.Write(w, http.StatusNotFound, "there is no such action; there are check, apply, rollback, hold, resume, disks, install and reset")
		return nil
	}
	return c.update(w, r, do)
}

func (c Config) update(w http.ResponseWriter, r *http.Request, do string) error {
	query, err := parameters(r, "on", "release", "disk", "erase")
	if err != nil {
		return err
	}
	if query.Get("release") != "" && do != operator.Apply {
		return bad("release is for apply alone")
	}
	a, err := operator.Answer{}, error(operator.Refusef(operator.NotANode, "this daemon has no updates"))
	if c.Update != nil {
		a, err = c.Update.Do(r.Context(), query.Get("on"), operator.Question{Do: do, Release: query.Get("release"), Disk: query.Get("disk"), Erase: query.Get("erase")})
	}
	if err != nil {
		refused := operator.AsRefused(err)
		status, ok := updateStatuses[refused.Code]
		if !ok {
			status = http.StatusInternalServerError
		}
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		problem.WriteCode(w, status, refused.Code, refused.Detail)
		return nil
	}
	return reply(w, http.StatusOK, Updated{a.Did, a.Report.Whole(), a.Disks, a.Installed})
}

// Update asks for something of the updates of the daemon's node, or with on of the
// node that has that peer id. What is refused is a *Refused.
func (c *Client) Update(ctx context.Context, on string, q operator.Question) (u Updated, err error) {
	query := url.Values{}
	for name, value := range map[string]string{"on": on, "release": q.Release, "disk": q.Disk, "erase": q.Erase} {
		if value != "" {
			query.Set(name, value)
		}
	}
	method, path := http.MethodPost, "/v1/update/"+q.Do
	if q.Do == operator.Status {
		method, path = http.MethodGet, "/v1/update"
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return u, c.call(ctx, method, path, &u)
}

// maxDrain is the longest that jobs can be waited for.
const maxDrain = 10 * time.Minute

// Drained is the answer of /v1/drain.
type Drained struct {
	Left int `json:"left"` // jobs that have not ended
}

// drain answers POST /v1/drain.
func (n *network) drain(w http.ResponseWriter, r *http.Request) error {
	query, err := parameters(r, "seconds")
	if err != nil {
		return err
	}
	seconds, err := strconv.Atoi(query.Get("seconds"))
	if err != nil || seconds < 0 || seconds > int(maxDrain/time.Second) {
		return bad("seconds: want 0 to %d", int(maxDrain/time.Second))
	}
	return reply(w, http.StatusOK, Drained{n.Runs.Drain(r.Context(), time.Duration(seconds)*time.Second)})
}

// undrain answers DELETE /v1/drain.
func (n *network) undrain(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	n.Runs.Undrain()
	return reply(w, http.StatusOK, Drained{n.Runs.Load().Running})
}

// Drain has the daemon refuse new jobs, and waits until those that run have ended
// or a time is over; it returns how many are left.
func (c *Client) Drain(ctx context.Context, within time.Duration) (left int, err error) {
	var d Drained
	err = c.call(ctx, http.MethodPost, "/v1/drain?seconds="+strconv.Itoa(int(within/time.Second)), &d)
	return d.Left, err
}

// Undrain has the daemon take jobs again.
func (c *Client) Undrain(ctx context.Context) error {
	var d Drained
	return c.call(ctx, http.MethodDelete, "/v1/drain", &d)
}
