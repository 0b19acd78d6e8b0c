package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
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
}

// place is the right to send a job (scheduler.Place).
type place interface {
	Hold(n int64) error // is asked before bytes are kept
	Recent(begin []byte) *modulecache.Module
}

// request is a request taken apart. streamed is the part stdin when it was left
// unread, with the form it is of.
type request struct {
	offer    scheduler.Offer
	form     *multipart.Reader
	streamed *multipart.Part
}

// read takes a request apart. With stream, the part stdin is left to be read
// while the job runs, if the job's other parts came before it and the job does
// not name its digest.
func read(r *http.Request, stream bool, place place) (request, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return request{}, &badRequest{http.StatusUnsupportedMediaType, "a job is sent as multipart/form-data with the parts module and, each optional, job, stdin and offer_nonce"}
	}
	got := map[string][]byte{}
	var module *modulecache.Module
	for form := multipart.NewReader(bufio.NewReaderSize(r.Body, 256<<10), params["boundary"]); ; {
		part, err := form.NextRawPart()
		if err == io.EOF {
			o, err := offer(module, got)
			return request{offer: o}, err
		}
		if err != nil {
			return request{}, unread("the request", err)
		}
		name := part.FormName()
		limit, known := parts[name]
		if _, twice := got[name]; !known || twice || name == "module" && module != nil {
			return request{}, bad("the part %.40q is unknown or there twice; module, job, stdin and offer_nonce are known", name)
		}
		if stream && name == "stdin" && module != nil {
			o, err := offer(module, got)
			if err != nil {
				return request{}, err
			}
			if o.Spec.Job().StdinHash == "" {
				return request{o, form, part}, nil
			}
		}
		if name == "module" {
			module, err = readModule(part, limit, r.ContentLength, place)
		} else {
			got[name], err = readPart(part, name, limit, 0, place)
		}
		if err != nil {
			return request{}, err
		}
	}
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

// enough is how many bytes of a module tell it from most others.
const enough = 64 << 10

// readModule is readPart for a module. One that its requester sends again is
// compared with what came before, which takes neither memory nor time.
func readModule(part io.Reader, limit, length int64, place place) (*modulecache.Module, error) {
	buffer := make([]byte, enough)
	n, err := io.ReadFull(part, buffer)
	came := buffer[:n]
	if err == nil {
		if known := place.Recent(came); known != nil {
			same, rest, err := equal(part, known.Bytes()[n:])
			if err != nil {
				return nil, unread("the part module", err)
			}
			if rest == nil && n+same == len(known.Bytes()) {
				return known, place.Hold(int64(n + same))
			}
			part = io.MultiReader(bytes.NewReader(known.Bytes()[n:n+same]), bytes.NewReader(rest), part)
		}
	}
	data, err := readPart(io.MultiReader(bytes.NewReader(came), part), "module", limit, length, place)
	return modulecache.NewModule(data), err
}

// equal reads as long as what comes is what is wanted, and returns how much of
// it was, and what came in the place of the rest, if anything did.
func equal(r io.Reader, wanted []byte) (same int, other []byte, err error) {
	buffer := make([]byte, enough)
	for {
		n, err := r.Read(buffer)
		if !bytes.HasPrefix(wanted[same:], buffer[:n]) {
			return same, buffer[:n], nil
		}
		switch same += n; {
		case err == io.EOF:
			return same, nil, nil
		case err != nil:
			return same, nil, err
		}
	}
}

// offer makes an offer of a request's parts. Without a job file, the module is
// run with the default limits.
func offer(module *modulecache.Module, got map[string][]byte) (scheduler.Offer, error) {
	if module == nil {
		return scheduler.Offer{}, bad("the part module is missing")
	}
	o := scheduler.Offer{Module: module, Stdin: got["stdin"], Nonce: string(got["offer_nonce"])}
	var err error
	if file, ok := got["job"]; ok {
		o.Spec, err = job.Parse(file)
	} else {
		standard := job.Default(nil)
		standard.ModuleHash = module.Digest().String()
		o.Spec, err = job.New(standard)
	}
	if err != nil {
		return scheduler.Offer{}, bad("%v", err)
	}
	if _, ok := got["offer_nonce"]; !ok {
		o.Nonce = scheduler.NewNonce()
	}
	return o, nil
}
