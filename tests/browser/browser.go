// Package browser has tests look at the page of a node in a real browser, Debian's
// chromium, which is watched: what it asks for, of whom, and what it complains of.
package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds the wait for one thing to be on the page. It is no measure of
// speed.
const patience = 5 * time.Minute

// Tab is a browser with one page open.
type Tab struct {
	ctx context.Context

	mu       sync.Mutex
	requests []string
	trouble  []string
}

// Open starts a browser that knows no name but localhost, and watches it. It skips
// the test outside the long tier, and where there is no chromium.
func Open(t *testing.T) *Tab {
	t.Helper()
	if os.Getenv("PHASE_TIER") != "all" {
		t.Skip("in the long tier: make test-all")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatal("chromium is missing; it is in DEPS_ALL of the Makefile: apt-get install chromium")
		}
		t.Skip("chromium is missing: apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // its helpers may still write into it
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // it refuses to build one as root; it sees nothing but the node
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.WSURLReadTimeout(patience),
	)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	tab := &Tab{}
	tab.ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	chromedp.ListenTarget(tab.ctx, tab.hear)
	tab.do(t, "starting the browser", network.Enable(), runtime.Enable(), log.Enable())
	return tab
}

// hear notes what the browser asks for, and what it complains of.
func (b *Tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *network.EventWebSocketCreated:
		b.requests = append(b.requests, e.URL)
	case *runtime.EventExceptionThrown:
		b.trouble = append(b.trouble, e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		// That a stream or a connection ends is no fault of the page.
		if e.Entry.Source == log.SourceSecurity || e.Entry.Source == log.SourceViolation || e.Entry.Source == log.SourceJavascript {
			b.trouble = append(b.trouble, fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text))
		}
	}
}

// do has the browser do something.
func (b *Tab) do(t testing.TB, what string, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(b.first(ctx), actions...); err != nil {
		var body string
		_ = chromedp.Run(b.ctx, chromedp.Evaluate(`document.body ? document.body.innerText : ""`, &body)) // for the message alone
		t.Fatalf("%s: %v; the page says:\n%s\nand the browser %q", what, err, body, b.Trouble())
	}
}

// first is the context of the browser itself until it has been started: it ends with
// the context that starts it.
func (b *Tab) first(ctx context.Context) context.Context {
	if c := chromedp.FromContext(b.ctx); c == nil || c.Browser == nil {
		return b.ctx
	}
	return ctx
}

// Go opens a page.
func (b *Tab) Go(t testing.TB, address string) {
	t.Helper()
	b.do(t, "opening "+address, chromedp.Navigate(address))
}

// Reads waits until a part of the page that is to be seen says something.
func (b *Tab) Reads(t testing.TB, part, text string) {
	t.Helper()
	b.do(t, fmt.Sprintf("waiting for %q in %s", text, part), chromedp.PollFunction(
		`(part, text) => { const e = document.querySelector(part); return !!e && e.offsetParent !== null && e.innerText.includes(text); }`,
		nil, chromedp.WithPollingArgs(part, text), chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(0)))
}

// Hidden waits until a part of the page is not to be seen.
func (b *Tab) Hidden(t testing.TB, part string) {
	t.Helper()
	b.do(t, "waiting for the end of "+part, chromedp.PollFunction(
		`(part) => { const e = document.querySelector(part); return !e || e.offsetParent === null; }`,
		nil, chromedp.WithPollingArgs(part), chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(0)))
}

// Type types into a field and presses enter.
func (b *Tab) Type(t testing.TB, field, text string) {
	t.Helper()
	b.do(t, "typing into "+field, chromedp.SendKeys(field, text+"\r", chromedp.ByQuery))
}

// WithoutScripts has pages that are opened from now on run none.
func (b *Tab) WithoutScripts(t testing.TB) {
	t.Helper()
	b.do(t, "turning scripts off", emulation.SetScriptExecutionDisabled(true))
}

// Text is what a person reads on the page.
func (b *Tab) Text(t testing.TB) string {
	t.Helper()
	return Value[string](t, b, `document.body.innerText`)
}

// Value is what an expression in the page gives.
func Value[T any](t testing.TB, b *Tab, expression string) (v T) {
	t.Helper()
	b.do(t, expression, chromedp.Evaluate(expression, &v))
	return v
}

// Picture is the page as it is seen in a window of that size, or with whole at its
// full height.
func (b *Tab) Picture(t testing.TB, width, height int64, whole bool) (png []byte) {
	t.Helper()
	shot := chromedp.CaptureScreenshot(&png)
	if whole {
		shot = chromedp.FullScreenshot(&png, 100)
	}
	b.do(t, "taking a picture", chromedp.EmulateViewport(width, height), shot)
	return png
}

// PictureVar names a file for the picture of the README.
const PictureVar = "PHASE_PICTURE"

// maxPicture is how large that may be, in bytes.
const maxPicture = 200_000

// Pictures keeps the page at the size of a phone and of a desktop in build/tests, under
// names that begin with name, and expects that nothing of it is beside the screen.
func (b *Tab) Pictures(t testing.TB, name string) {
	t.Helper()
	for size, width := range map[string]int64{"phone": 390, "desktop": 1280} {
		Keep(t, name+size+".png", b.Picture(t, width, 844, true))
		if over := Value[int](t, b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("%s: the page is %d pixels too wide", size, over)
		}
	}
	path := os.Getenv(PictureVar)
	if path == "" {
		return
	}
	png := b.Picture(t, 1180, 820, true)
	if len(png) >= maxPicture {
		t.Errorf("the picture has %d bytes, and may have less than %d", len(png), maxPicture)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Keep writes a picture into build/tests.
func Keep(t testing.TB, name string, png []byte) {
	t.Helper()
	dir := filepath.Join("..", "..", "build", "tests", "browser")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), png, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// Trouble is what the browser has complained of: what the policy of a page forbids,
// and errors of scripts.
func (b *Tab) Trouble() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.trouble...)
}

// Elsewhere are the requests that did not go to the node, and those whose address
// has something of a secret.
func (b *Tab) Elsewhere(origin, secret string) (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if u, err := url.Parse(r); err != nil || u.Scheme != "data" && u.Scheme+"://"+u.Host != origin || strings.Contains(r, secret) {
			list = append(list, r)
		}
	}
	return list
}

// Requests is how many there were.
func (b *Tab) Requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.requests)
}

// Forward has a port of this machine lead to a node, and returns its address for the
// browser. A connection that cannot be made is closed.
func Forward(t testing.TB, dial func(context.Context) (net.Conn, error)) (origin string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { forward(ctx, near, dial) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

func forward(ctx context.Context, near net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer near.Close()
	far, err := dial(ctx)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // either side may end it
			near.Close()
			far.Close()
		})
	}
	both.Wait()
}
