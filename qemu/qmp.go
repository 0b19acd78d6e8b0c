package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
)

// monitor speaks QMP (QEMU's docs/interop/qmp-spec) over one connection. It trusts QEMU: both are ours.
type monitor struct {
	conn  net.Conn
	event func(name string, data map[string]any)
	hello chan struct{}

	mu      sync.Mutex
	next    int
	pending map[int]chan reply
	gone    chan struct{}
}

type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

func newMonitor(conn net.Conn, event func(string, map[string]any)) *monitor {
	m := &monitor{conn: conn, event: event, hello: make(chan struct{}), pending: map[int]chan reply{}, gone: make(chan struct{})}
	go m.read()
	return m
}

func (m *monitor) read() {
	defer close(m.gone)
	defer m.conn.Close()
	dec := json.NewDecoder(bufio.NewReader(m.conn))
	for {
		var msg struct {
			reply
			ID    *int            `json:"id"`
			QMP   json.RawMessage `json:"QMP"`
			Event string          `json:"event"`
			Data  map[string]any  `json:"data"`
		}
		if dec.Decode(&msg) != nil {
			return
		}
		switch {
		case msg.QMP != nil:
			close(m.hello)
		case msg.Event != "":
			m.event(msg.Event, msg.Data)
		case msg.ID != nil:
			m.mu.Lock()
			ch := m.pending[*msg.ID]
			delete(m.pending, *msg.ID)
			m.mu.Unlock()
			if ch != nil {
				ch <- msg.reply
			}
		}
	}
}

// command runs one QMP command; out may be nil.
func (m *monitor) command(ctx context.Context, name string, args any, out any) error {
	ch := make(chan reply, 1)
	m.mu.Lock()
	m.next++
	id := m.next
	m.pending[id] = ch
	m.mu.Unlock()
	req := map[string]any{"execute": name, "id": id}
	if args != nil {
		req["arguments"] = args
	}
	b, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("asking QEMU for %s: %w", name, err)
	}
	select {
	case <-m.hello:
	case <-m.gone:
		return fmt.Errorf("asking QEMU for %s: it is gone", name)
	case <-ctx.Done():
		return fmt.Errorf("asking QEMU for %s: %w", name, ctx.Err())
	}
	if _, err := m.conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("asking QEMU for %s: %w", name, err)
	}
	select {
	case r := <-ch:
		if r.Error != nil {
			return fmt.Errorf("asking QEMU for %s: %s", name, r.Error.Desc)
		}
		if out != nil {
			if err := json.Unmarshal(r.Return, out); err != nil {
				return fmt.Errorf("asking QEMU for %s: reading its answer: %w", name, err)
			}
		}
		return nil
	case <-m.gone:
		return fmt.Errorf("asking QEMU for %s: it is gone", name)
	case <-ctx.Done():
		return fmt.Errorf("asking QEMU for %s: %w", name, ctx.Err())
	}
}
