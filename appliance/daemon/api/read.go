package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/wasm"
)

// MaxStdin is the largest input of a job in bytes, unless it is streamed.
const MaxStdin = 64 << 20

// parts are the parts of a request and how many bytes each may have.
var parts = map[string]int64{
	"job":         strictjson.MaxBytes,
	"module":      wasm.MaxModule,
	"stdin":       MaxStdin,
	"offer_nonce": 64,
	"on":          128,
	"replicas":    8,
}

// knownParts names them.
const knownParts = "module, job, stdin, offer_nonce, on and replicas are known"

// place is the right to send a job (scheduler.Place).
type place interface {
	Hold(n int64) error // is asked before bytes are kept
	// Module is what this requester sent before, nil where that is not held.
	Module(names.Digest) (*modulecache.Module, error)
}

// request is a request taken apart. streamed is the part stdin when it was left
// unread, with the form it is of.
type request struct {
	offer    scheduler.Offer
	where    remote.Where // On is "" for here
	form     *multipart.Reader
	streamed *multipart.Part
}

// read takes a request apart. A job without the part module is one by digest.
// With stream, that is settled when the part stdin comes, so the module must come
// before it; and stdin is left to be read while the job runs, if it is the last
// part, the job does not name its digest, and no other node may need it again.
func read(r *http.Request, stream bool, place place) (request, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return request{}, &badRequest{http.StatusUnsupportedMediaType, "a job is sent as multipart/form-data with the parts job or module or both and, each optional, stdin, offer_nonce, on and replicas"}
	}
	got := map[string][]byte{}
	for form := multipart.NewReader(bufio.NewReaderSize(r.Body, 256<<10), params["boundary"]); ; {
		part, err := form.NextRawPart()
		if err == io.EOF {
			return whole(got, place)
		}
		if err != nil {
			return request{}, unread("the request", err)
		}
		name := part.FormName()
		limit, known := parts[name]
		if _, twice := got[name]; !known || twice {
			return request{}, bad("the part %.40q is unknown or there twice; %s", name, knownParts)
		}
		if _, job := got["job"]; stream && name == "stdin" && (job || got["module"] != nil) {
			ask, err := whole(got, place)
			if err != nil {
				return request{}, err
			}
			if ask.offer.Spec.Job().StdinHash == "" && !ask.again() {
				ask.form, ask.streamed = form, part
				return ask, nil
			}
		}
		var length int64 // of the part, about, where it is most of the request
		if name == "module" {
			length = r.ContentLength
		}
		if got[name], err = readPart(part, name, limit, length, place); err != nil {
			return request{}, err
		}
	}
}

// whole makes a request of its parts.
func whole(got map[string][]byte, place place) (ask request, err error) {
	if ask.where, err = where(got); err == nil {
		ask.offer, err = offer(got, place)
	}
	return ask, err
}

// step is how many bytes are asked for at a time.
const step = 1 << 20

// readPart reads one part, of about length bytes where that is known; no more of
// it is kept than there is room for.
func readPart(part io.Reader, name string, limit, length int64, place place) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, max(0, min(limit, length, 4*step))))
	for held := int64(0); ; {
		if err := place.Hold(step); err != nil {
			return nil, err
		}
		held += step
		n, err := io.CopyN(data, part, min(held, limit+1)-int64(data.Len()))
		switch {
		case err == io.EOF:
			return data.Bytes(), nil
		case err != nil:
			return nil, unread("the part "+name, err)
		case int64(data.Len()) > limit:
			return nil, &badRequest{http.StatusRequestEntityTooLarge, fmt.Sprintf("the part %s is larger than %d bytes", name, limit)}
		case n == 0:
			return data.Bytes(), nil
		}
	}
}

// offer makes an offer of a request's parts. Without a job file, the module is
// run with the default limits; without a module, it is the one that the job
// names, if this requester has sent it before.
func offer(got map[string][]byte, place place) (o scheduler.Offer, err error) {
	file, isJob := got["job"]
	module, isModule := got["module"]
	if !isJob && !isModule {
		return o, bad("the part module is missing; only with the part job, which names its digest, may it be left out")
	}
	o.Stdin, o.Nonce = got["stdin"], string(got["offer_nonce"])
	if _, ok := got["offer_nonce"]; !ok {
		o.Nonce = scheduler.NewNonce()
	}
	if isModule {
		o.Module = modulecache.NewModule(module)
	}
	if isJob {
		o.Spec, err = job.Parse(file)
	} else {
		standard := job.Default(nil)
		standard.ModuleHash = o.Module.Digest().String()
		o.Spec, err = job.New(standard)
	}
	if err != nil {
		return o, bad("%v", err)
	}
	if isModule {
		return o, nil
	}
	digest, err := names.ParseDigest(o.Spec.Job().ModuleHash)
	if err != nil {
		return o, bad("module_hash: %v", err)
	}
	if o.Module, err = place.Module(digest); err == nil && o.Module == nil {
		err = scheduler.Needed(o.Spec)
	}
	return o, err
}
