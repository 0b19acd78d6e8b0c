package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/redact"
)

const secret = "0123456789abcdef"

func text(s string) func(context.Context) (any, error) {
	return func(context.Context) (any, error) { return s, nil }
}

// unpack returns the files of a bundle, and their names in their order.
func unpack(t *testing.T, data []byte) (files map[string]string, names []string) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return files, names
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s: %+v", h.Name, h)
		}
		name := strings.TrimPrefix(h.Name, Folder+"/")
		files[name], names = string(content), append(names, name)
	}
}

// Each part is there without its secrets, or said to be missing with the reason; the
// same parts make the same bytes.
func TestWrite(t *testing.T) {
	parts := []Part{
		{"a", text("it is " + secret + "\nhttp://me:word@192.0.2.1/\n")},
		{"b", func(context.Context) (any, error) {
			return map[string]any{"text": "token " + secret, "token": 7, "n": uint64(1) << 63}, nil
		}},
		{"c", func(context.Context) (any, error) { return nil, errors.New("no " + secret + " here") }},
		{"d", text(strings.Repeat("x", maxFile) + "\nlast\n")},
		{"e", func(context.Context) (any, error) { return []string{strings.Repeat("x", maxFile)}, nil }},
	}
	now := time.Unix(1e9, 5)
	var first, second bytes.Buffer
	for _, to := range []*bytes.Buffer{&first, &second} {
		if err := Write(t.Context(), to, parts, redact.New(secret), now); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two bundles of the same differ")
	}
	files, names := unpack(t, first.Bytes())
	if want := []string{"a.txt", "b.json", "d.txt", Contents + jsonEnd}; !slices.Equal(names, want) {
		t.Errorf("there are %q", names)
	}
	for name, content := range files {
		if strings.Contains(content, secret) || strings.Contains(content, "word@") {
			t.Errorf("%s holds a secret: %.200s", name, content)
		}
	}
	if files["a.txt"] != "it is [removed]\nhttp://[removed]@192.0.2.1/\n" || !strings.Contains(files["b.json"], "9223372036854775808") || files["d.txt"] != "last\n" {
		t.Errorf("a %q, b %q, d %.40q", files["a.txt"], files["b.json"], files["d.txt"])
	}
	var list List
	if err := json.Unmarshal([]byte(files[Contents+jsonEnd]), &list); err != nil {
		t.Fatal(err)
	}
	if f := list.Files; len(f) != 5 || f[2].Missing != "no [removed] here" || f[3].Cut != maxFile+1 || !strings.Contains(f[4].Missing, "at most") {
		t.Errorf("contents: %+v", list)
	}
}

// A part that hangs ends with its caller, and a bundle that nobody takes with an error.
func TestWriteEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hangs := Part{"a", func(context.Context) (any, error) { cancel(); select {} }}
	if err := Write(ctx, io.Discard, []Part{hangs, {"b", text("b")}}, redact.Redactor{}, time.Now()); err == nil {
		t.Error("it was cancelled, and is whole")
	}
	gone := errors.New("gone")
	r, w := io.Pipe()
	r.CloseWithError(gone)
	if err := Write(t.Context(), w, nil, redact.Redactor{}, time.Now()); !errors.Is(err, gone) {
		t.Errorf("nobody took it: %v", err)
	}
}

func TestReadDisks(t *testing.T) {
	d := ReadDisks("/", "/", "", "/not/there")
	if len(d.Folders) != 2 || d.Folders[0].Folder != "/" || d.Folders[0].Bytes == 0 || d.Folders[1].Error == "" {
		t.Errorf("%+v", d.Folders)
	}
	for _, disk := range d.Disks {
		if disk.Name == "" || disk.Bytes == 0 {
			t.Errorf("%+v", disk)
		}
	}
}
