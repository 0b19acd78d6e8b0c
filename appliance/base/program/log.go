package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"phase/appliance/base/ui"
)

// NewHandler returns a slog handler for people: one line a record,
// "message key=value", with the level named only from warnings up. Times are
// added by what keeps the log (the kernel on a node, the journal on a laptop). Control characters never reach w.
func NewHandler(w io.Writer) slog.Handler {
	return &handler{w: w, mu: new(sync.Mutex)}
}

// Quiet has the program log what is at least of a level, until the returned
// function is called: a command for people says what they asked for.
func Quiet(least slog.Level) (loud func()) {
	before := slog.Default()
	slog.SetDefault(slog.New(atLeast{before.Handler(), least}))
	return func() { slog.SetDefault(before) }
}

type atLeast struct {
	slog.Handler
	level slog.Level
}

func (a atLeast) Enabled(_ context.Context, l slog.Level) bool { return l >= a.level }

type handler struct {
	w      io.Writer
	mu     *sync.Mutex
	attrs  string
	prefix string
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if r.Level >= slog.LevelWarn {
		b.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	b.WriteString(ui.Clean(r.Message))
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(h.format(a))
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

func (h *handler) format(a slog.Attr) string {
	text := ui.Clean(a.Value.Resolve().String())
	if text == "" || strings.ContainsAny(text, " \"=") {
		text = fmt.Sprintf("%q", text)
	}
	return " " + h.prefix + a.Key + "=" + text
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	for _, a := range attrs {
		next.attrs += h.format(a)
	}
	return &next
}

func (h *handler) WithGroup(name string) slog.Handler {
	next := *h
	next.prefix += name + "."
	return &next
}
