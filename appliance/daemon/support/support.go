// Package support writes a support bundle: an archive by which others find out what
// is wrong with a node. Only what a caller lists is in it, and each text is searched
// for secrets.
package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"phase/appliance/base/redact"
	"phase/appliance/base/strictjson"
)

const (
	// Folder is what all files of a bundle are in.
	Folder = "phase-support"
	// Contents is the name of the last file.
	Contents = "contents"
	maxFile  = 2 << 20          // bytes of one file
	partTime = 20 * time.Second // for one file to be read
)

// Part is one file of a bundle.
type Part struct {
	Name string // without its end
	// Read returns a string, which makes a .txt, or what is written as .json. Its error stands in
	// the last file.
	Read func(ctx context.Context) (any, error)
}

// File is what the last file says of one part.
type File struct {
	Name    string `json:"name"`
	Bytes   int    `json:"bytes"`
	Cut     int    `json:"cut,omitzero"`     // bytes at the beginning that were left out: it was too large
	Missing string `json:"missing,omitzero"` // why it is not there
}

// List is the last file of a bundle, which says what is in it.
type List struct {
	Made  time.Time `json:"made"`
	Note  string    `json:"note"`
	Files []File    `json:"files"`
}

// note is for who reads a bundle.
const note = "Keys, tokens, jobs, and their input and output are not in this archive. Text that looked like a secret was replaced by " + redact.Mark +
	". Names, addresses and peer ids are in it: look through it before you publish it."

// Write writes the parts, in their order, as a compressed tar file made at now. A part
// that cannot be read, or takes too long, is left out and said to be missing.
func Write(ctx context.Context, w io.Writer, parts []Part, secrets redact.Redactor, now time.Time) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	list := List{Made: now.UTC().Truncate(time.Second), Note: note, Files: []File{}}
	add := func(name string, data []byte) error {
		err := archive.WriteHeader(&tar.Header{
			Name: Folder + "/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: list.Made, Format: tar.FormatUSTAR,
		})
		if err == nil {
			_, err = archive.Write(data)
		}
		return err
	}
	for _, p := range parts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, file := p.read(ctx, secrets)
		list.Files = append(list.Files, file)
		if file.Missing != "" {
			continue
		}
		if err := add(file.Name, data); err != nil {
			return fmt.Errorf("writing a support bundle: %w", err)
		}
	}
	data, err := strictjson.MarshalIndent(list)
	if err == nil {
		err = add(Contents+jsonEnd, data)
	}
	if err = errors.Join(err, archive.Close(), zip.Close()); err != nil {
		return fmt.Errorf("writing a support bundle: %w", err)
	}
	return nil
}

// read returns what of a part goes into a bundle.
func (p Part) read(ctx context.Context, secrets redact.Redactor) ([]byte, File) {
	file := File{Name: p.Name}
	missing := func(err error) ([]byte, File) {
		file.Missing = secrets.Text(err.Error())
		return nil, file
	}
	ctx, end := context.WithTimeoutCause(ctx, partTime, fmt.Errorf("it was not read within %v", partTime))
	defer end()
	type answer struct {
		data []byte
		end  string
		err  error
	}
	answers := make(chan answer, 1) // one that comes too late is nobody's
	go func() {
		v, err := p.Read(ctx)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		data, end, err := clean(v, secrets)
		answers <- answer{data, end, err}
	}()
	var got answer
	select {
	case got = <-answers:
	case <-ctx.Done():
		got.err = context.Cause(ctx)
	}
	if got.err != nil {
		return missing(got.err)
	}
	if over := len(got.data) - maxFile; over > 0 {
		if got.end == jsonEnd {
			return missing(fmt.Errorf("it has %d bytes, at most %d go into a bundle", len(got.data), maxFile))
		}
		// The end of a text says what happened last.
		rest := got.data[over:]
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
		file.Cut, got.data = len(got.data)-len(rest), rest
	}
	file.Name, file.Bytes = p.Name+got.end, len(got.data)
	return got.data, file
}

// How the names of files end.
const (
	textEnd = ".txt"
	jsonEnd = ".json"
)

// clean is v as text, or as JSON, without secrets, and how its name ends.
func clean(v any, secrets redact.Redactor) (data []byte, end string, err error) {
	if text, ok := v.(string); ok {
		return []byte(secrets.Text(text)), textEnd, nil
	}
	data, err = strictjson.Marshal(v)
	if err != nil {
		return nil, "", err
	}
	var plain any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // as it was written
	if err := decoder.Decode(&plain); err != nil {
		return nil, "", err
	}
	data, err = json.MarshalIndent(secrets.Value(plain), "", "  ")
	return append(data, '\n'), jsonEnd, err
}
