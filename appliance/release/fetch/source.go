package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
)

// source is one provider, as a download uses it. The download's lock guards the
// second group of fields; the rest belongs to its one worker.
type source struct {
	url      string
	base     *url.URL
	manifest manifest.Manifest
	opts     Options
	byFile   bool // it has no /blobs/, it is a plain file server

	bytes      int64
	busy       time.Duration
	failures   int
	whole      bool // it does not know ranges
	proved     bool // it brought an artifact, whole and right, by itself
	lastResort bool // too slow to be asked while others are left
	dropped    *refusal.Refusal
}

func newSource(base string, m manifest.Manifest, opts Options) *source {
	s := &source{url: base, manifest: m, opts: opts}
	u, err := ParseBase(base)
	if err != nil {
		s.drop(refusal.New(refusal.Unreachable, "%v", err))
	}
	s.base = u
	return s
}

func (s *source) drop(why *refusal.Refusal) {
	if s.dropped == nil {
		s.dropped = why
	}
}

// pace is bytes a second over all it has done, 0 while nothing is known.
func (s *source) pace() float64 {
	if s.bytes < progressWorth || s.busy == 0 {
		return 0
	}
	return float64(s.bytes) / s.busy.Seconds()
}

// final is a refusal after which a provider is not asked again: waiting will
// not make its answer right.
type final struct{ *refusal.Refusal }

func (f final) Unwrap() error { return f.Refusal }

// destinationError is an error of the place the bytes go to: no provider's
// fault, and no provider can help.
type destinationError struct{ error }

// watch ends a request that stays below the floor rate for too long. It counts
// in quanta of what the floor lets through in the time of patience, so that
// waiting to connect, waiting for a header and trickling are all the same.
type watch struct {
	timer    *time.Timer
	patience time.Duration
	quantum  int64
	got      int64
}

func newWatch(opts Options, cancel context.CancelCauseFunc) *watch {
	slow := final{refusal.New(refusal.Slow, "under %d bytes a second for %v", floorRate, opts.patience)}
	return &watch{
		timer:    time.AfterFunc(opts.patience, func() { cancel(slow) }),
		patience: opts.patience,
		quantum:  max(1, int64(float64(floorRate)*opts.patience.Seconds())),
	}
}

func (w *watch) count(n int) {
	if w.got += int64(n); w.got >= w.quantum {
		w.got = 0
		w.timer.Reset(w.patience)
	}
}

// stream fetches one segment, as far as it goes.
func (d *download) stream(ctx context.Context, cancel context.CancelCauseFunc, src *source, s *segment) error {
	watch := newWatch(src.opts, cancel)
	defer watch.timer.Stop()
	pos, end := d.span(s)
	resp, err := src.ask(ctx, s.artifact, pos, end)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	skip := int64(0)
	if resp.StatusCode == http.StatusOK && pos > 0 {
		// It sends everything: what is there already is read past.
		skip = pos
		d.mu.Lock()
		src.whole = true
		d.mu.Unlock()
	}
	buf := make([]byte, 128<<10)
	for {
		pos, end := d.span(s)
		if pos == end {
			return nil
		}
		want := min(int64(len(buf)), end-pos)
		if skip > 0 {
			want = min(int64(len(buf)), skip)
		}
		n, err := resp.Body.Read(buf[:want])
		watch.count(n)
		if skip > 0 {
			skip -= int64(n)
		} else if n > 0 {
			began := time.Now()
			if err := d.write(s, buf[:n]); err != nil {
				return err
			}
			if time.Since(began) > src.opts.patience/8 {
				watch.timer.Reset(src.opts.patience) // a slow disk is not the provider's fault
			}
		}
		if err == io.EOF {
			if pos, end := d.span(s); pos < end {
				return refusal.New(refusal.Unreachable, "it ended the %s at byte %d of %d", s.artifact.name, pos, s.artifact.want.Size)
			}
			return nil
		}
		if err != nil {
			return answer(ctx, "reading the "+s.artifact.name, err)
		}
	}
}

// write puts bytes in place, no more than the segment still wants.
func (d *download) write(s *segment, data []byte) error {
	pos, n := d.claim(s, len(data))
	if n == 0 {
		return nil
	}
	if _, err := s.artifact.region.WriteAt(data[:n], pos); err != nil {
		return destinationError{fmt.Errorf("writing the %s: %w", s.artifact.name, err)}
	}
	d.advance(s, n)
	return nil
}

// answer keeps what ended ctx on purpose apart from what the network did.
func answer(ctx context.Context, doing string, err error) error {
	cause := context.Cause(ctx)
	if _, ok := errors.AsType[final](cause); ok || errors.Is(cause, errOvertaken) {
		return cause
	}
	return failure(ctx, doing, err)
}

// ask requests bytes [pos,end) of an artifact and checks the answer's header.
// The body of a 200 begins at byte 0, that of a 206 at pos.
func (s *source) ask(ctx context.Context, a *artifact, pos, end int64) (*http.Response, error) {
	for {
		where := layout.Blob(a.want.SHA256)
		if s.byFile {
			where = layout.Artifact(s.manifest.Channel, s.manifest.Arch, a.name)
		}
		req, err := newRequest(ctx, s.base.JoinPath(where))
		if err != nil {
			return nil, err
		}
		part := pos > 0 || end < a.want.Size
		if part {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", pos, end-1))
		}
		resp, err := s.opts.client.Do(req)
		if err != nil {
			return nil, answer(ctx, "asking for the "+a.name, err)
		}
		if resp.StatusCode == http.StatusNotFound && !s.byFile {
			resp.Body.Close()
			s.byFile = true
			continue
		}
		if err := checkAnswer(resp, a, part, pos, end); err != nil {
			resp.Body.Close()
			return nil, err
		}
		return resp, nil
	}
}

// checkAnswer holds an answer's header against what was asked and signed.
func checkAnswer(resp *http.Response, a *artifact, part bool, pos, end int64) error {
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return final{refusal.New(refusal.Size, "it says its %s has no byte %d of %d", a.name, pos, a.want.Size)}
	}
	want := []int{http.StatusOK}
	if part {
		want = append(want, http.StatusPartialContent)
	}
	if err := checkStatus(resp, want...); err != nil {
		return err
	}
	length := a.want.Size
	if resp.StatusCode == http.StatusPartialContent {
		first, last, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || first != pos || last >= end {
			return final{refusal.New(refusal.Format, "it was asked for bytes %d-%d of the %s and sent %q", pos, end-1, a.name, resp.Header.Get("Content-Range"))}
		}
		if total >= 0 && total != a.want.Size {
			return final{refusal.New(refusal.Size, "its %s has %d bytes, the manifest says %d", a.name, total, a.want.Size)}
		}
		length = last - first + 1
	}
	if resp.ContentLength >= 0 && resp.ContentLength != length {
		return final{refusal.New(refusal.Size, "its %s comes as %d bytes, the manifest says %d", a.name, resp.ContentLength, length)}
	}
	return nil
}

var contentRangeForm = regexp.MustCompile(`^(?i:bytes) ([0-9]+)-([0-9]+)/([0-9]+|\*)$`)

// contentRange reads "bytes first-last/total" (RFC 9110, 14.4); total is -1
// for "*".
func contentRange(text string) (first, last, total int64, ok bool) {
	part := contentRangeForm.FindStringSubmatch(text)
	if part == nil {
		return 0, 0, 0, false
	}
	first, err1 := strconv.ParseInt(part[1], 10, 64)
	last, err2 := strconv.ParseInt(part[2], 10, 64)
	total, err3 := int64(-1), error(nil)
	if part[3] != "*" {
		total, err3 = strconv.ParseInt(part[3], 10, 64)
	}
	return first, last, total, errors.Join(err1, err2, err3) == nil && first <= last && (total < 0 || last < total)
}
