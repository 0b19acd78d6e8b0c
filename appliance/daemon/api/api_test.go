package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/compute/worker/inside"
	"phase/appliance/daemon/journal"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		os.Exit(inside.Main(context.Background()))
	}
	os.Exit(m.Run())
}

const token = "0123456789abcdef0123456789abcdef"

// empty is the least module that can run: it does nothing.
var empty = []byte("\x00asm\x01\x00\x00\x00")

// limits of the nodes under test.
var limits = scheduler.Limits{
	Cores: 2, MemoryMB: 4096, Queue: 2, PerRequester: 4, TimeoutSec: 3600,
	OutputBytes: job.DefaultOutputBytes, HeldBytes: 256 << 20,
}

// node returns the interface of a node with a history in memory.
func node(t *testing.T) (Config, identity.Identity) {
	t.Helper()
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := history.Open("", history.Limits{Runs: 100, Bytes: 16 << 20, Nonces: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	r := scheduler.New(scheduler.NewRunner(id), h, limits, time.Now)
	return Config{
		Runs: r, History: h, Log: journal.NewLog(io.Discard, time.Now),
		Name: id.Name(), PeerID: id.PeerID(), Version: "devel", Arch: "x86_64",
	}, id
}

func server(t *testing.T) (*httptest.Server, identity.Identity) {
	t.Helper()
	c, id := node(t)
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s, id
}

type part struct {
	name string
	data []byte
}

func form(t *testing.T, parts ...part) (contentType string, body *bytes.Buffer) {
	t.Helper()
	body = new(bytes.Buffer)
	w := multipart.NewWriter(body)
	for _, p := range parts {
		f, err := w.CreateFormFile(p.name, p.name)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(p.data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), body
}

// post sends a request and returns the status and the body.
func post(t *testing.T, s *httptest.Server, token, contentType string, body io.Reader) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/jobs", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, text
}

type answer struct {
	JobID        string          `json:"job_id"`
	RunID        string          `json:"run_id"`
	ExitCode     int             `json:"exit_code"`
	Outcome      string          `json:"outcome"`
	Stdout       *string         `json:"stdout"`
	StdoutBase64 []byte          `json:"stdout_base64"`
	Stderr       *string         `json:"stderr"`
	StderrBase64 []byte          `json:"stderr_base64"`
	Receipt      json.RawMessage `json:"receipt"`
}

// hello is examples/hello, built once.
var hello = sync.OnceValues(func() ([]byte, error) { return build("phase/examples/hello") })

// build builds a program for WASI. With the error comes what the compiler said.
func build(path string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "module")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "module.wasm")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, path)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		return out, err
	}
	return os.ReadFile(file)
}

func TestJobRunsAndItsReceiptVerifies(t *testing.T) {
	module, err := hello()
	if err != nil {
		t.Fatalf("%v: %s", err, module)
	}
	s, id := server(t)
	stdin := []byte("ab\xffc\n")
	j := job.Default(module)
	j.MemoryMB, j.StdinHash = 64, job.Hash(stdin)
	spec, err := job.New(j)
	if err != nil {
		t.Fatal(err)
	}
	nonce := scheduler.NewNonce()
	kind, body := form(t, part{"job", spec.File()}, part{"module", module}, part{"stdin", stdin}, part{"offer_nonce", []byte(nonce)})
	status, header, text := post(t, s, token, kind, body)
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d: %s", status, text)
	}
	var got answer
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if string(got.StdoutBase64) != "c\xffba\n" || got.Stdout != nil || got.Stderr == nil || *got.Stderr != "" || got.ExitCode != 0 || got.Outcome != "exited" {
		t.Errorf("answer: %+v", got)
	}
	st, err := receipt.Verify(got.Receipt, receipt.Pin{PeerID: id.PeerID(), Key: id.Public()})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{st.CheckJob(spec), st.CheckStdout(sha256.Sum256(got.StdoutBase64)), st.CheckStderr(sha256.Sum256(nil)), st.CheckNonce(nonce)} {
		if err != nil {
			t.Error(err)
		}
	}
	if st.Predicate.RunID != got.RunID || st.Predicate.JobID != got.JobID || st.Predicate.Limits.MemoryMB != 64 {
		t.Errorf("receipt: %+v", st.Predicate)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	s, _ := server(t)
	good, err := job.New(job.Default(empty))
	if err != nil {
		t.Fatal(err)
	}
	many := job.Default(empty)
	many.CPUCores = 64
	cores, err := job.New(many)
	if err != nil {
		t.Fatal(err)
	}
	module := part{"module", empty}
	for _, c := range []struct {
		name   string
		parts  []part
		status int
		says   string
	}{
		{"no module", nil, 400, "module is missing"},
		{"unknown part", []part{module, {"shell", nil}}, 400, "shell"},
		{"module twice", []part{module, module}, 400, "twice"},
		{"job is no job", []part{module, {"job", []byte("{}")}}, 400, "cpu_cores"},
		{"job too large", []part{module, {"job", make([]byte, 1<<20+1)}}, 413, "larger than"},
		{"no WebAssembly", []part{{"module", []byte("MZ")}}, 422, "not a WebAssembly module"},
		{"a component", []part{{"module", []byte("\x00asm\x0d\x00\x01\x00")}}, 422, "RuntimeNotSupported"},
		{"damaged", []part{{"module", append(bytes.Clone(empty), 0xff)}}, 422, "compiling"},
		{"another module", []part{{"module", append(bytes.Clone(empty), 0)}, {"job", good.File()}}, 422, "module_hash"},
		{"too many cores", []part{module, {"job", cores.File()}}, 422, "InsufficientResources"},
		{"short nonce", []part{module, {"offer_nonce", []byte("AAAA")}}, 422, "offer_nonce"},
	} {
		kind, body := form(t, c.parts...)
		status, header, text := post(t, s, token, kind, body)
		if status != c.status || !strings.Contains(string(text), c.says) || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	if status, _, text := post(t, s, token, "application/json", strings.NewReader("{}")); status != 415 {
		t.Errorf("JSON: %d %s", status, text)
	}
	if status, _, text := post(t, s, token, "multipart/form-data; boundary=x", strings.NewReader("--y\r\n\r\n\r\n--y--\r\n")); status != 400 || !strings.Contains(string(text), "boundary") {
		t.Errorf("another boundary: %d %s", status, text)
	}
	if status, _, text := post(t, s, token, "multipart/form-data; boundary=x", strings.NewReader("--x\r\ncut off")); status != 400 {
		t.Errorf("cut off: %d %s", status, text)
	}
}

func TestOnlyTheTokenOpens(t *testing.T) {
	s, _ := server(t)
	kind, body := form(t, part{"module", empty})
	sent := body.String()
	for _, wrong := range []string{"", "x", token + "0", token[:31], strings.ToUpper(token)} {
		status, header, text := post(t, s, wrong, kind, strings.NewReader(sent))
		if status != 401 || header.Get("WWW-Authenticate") == "" || !strings.Contains(string(text), "NotAuthorized") {
			t.Errorf("token %q: %d %s", wrong, status, text)
		}
	}
	if status, _, text := post(t, s, token, kind, strings.NewReader(sent)); status != 200 {
		t.Errorf("the token: %d %s", status, text)
	}
	if _, err := Handler(Config{}, ""); err == nil {
		t.Error("a handler without a token")
	}
}

func TestAnOfferRunsOnce(t *testing.T) {
	s, _ := server(t)
	kind, body := form(t, part{"module", empty}, part{"offer_nonce", []byte(scheduler.NewNonce())})
	sent := body.String()
	if status, _, text := post(t, s, token, kind, strings.NewReader(sent)); status != 200 {
		t.Fatalf("first: %d %s", status, text)
	}
	if status, _, text := post(t, s, token, kind, strings.NewReader(sent)); status != 422 || !strings.Contains(string(text), "already") {
		t.Errorf("again: %d %s", status, text)
	}
}

func TestRoutes(t *testing.T) {
	s, _ := server(t)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"DELETE", "/v1/jobs", 405}, {"PUT", "/v1/jobs/0", 405}, {"GET", "/v1/jobs/0/cancel", 405}, {"POST", "/v1/node", 405},
		{"GET", "/v1/other", 404}, {"GET", "/v1/jobs/0", 400}, {"GET", "/v1/jobs/" + strings.Repeat("0", 32), 404},
		{"POST", "/v1/jobs/" + strings.Repeat("0", 32) + "/cancel", 404}, {"GET", "/v1/jobs?limit=0", 400},
		{"GET", "/v1/jobs?limit=1001", 400}, {"GET", "/v1/jobs?limit=1&limit=2", 400}, {"GET", "/v1/jobs?page=2", 400},
		{"GET", "/v1/jobs?before=x", 400}, {"GET", "/v1/jobs?before=" + strings.Repeat("0", 32), 404}, {"GET", "/v1/logs?lines=x", 400},
		{"GET", "/v1/node?a=%zz", 400},
	} {
		r, err := http.NewRequest(c.method, s.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "bearer "+token)
		got, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != c.status || got.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.StatusCode, got.Header.Get("Content-Type"))
		}
	}
}
