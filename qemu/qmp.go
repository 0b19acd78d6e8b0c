package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// monitor speaks QMP (QEMU's docs/interop/qmp-spec) over one connection. It trusts QEMU: both are ours.
type monitor struct {
	conn  net.Conn
	event func(name string, data map[string]any)

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
	m := &monitor{conn: conn, event: event, pending: map[int]chan reply{}, gone: make(chan struct{})}
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
			ID    *int           `json:"id"`
			Event string         `json:"event"`
			Data  map[string]any `json:"data"`
		}
		if dec.Decode(&msg) != nil {
			return
		}
		switch {
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
func (m *monitor) command(ctx context.Context, name string, args any, out any) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("asking QEMU for %s: %w", name, err)
		}
	}()
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
		return err
	}
	if _, err := m.conn.Write(append(b, '\n')); err != nil {
		return err
	}
	select {
	case r := <-ch:
		if r.Error != nil {
			return errors.New(r.Error.Desc)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(r.Return, out)
	case <-m.gone:
		return errors.New("it is gone")
	case <-ctx.Done():
		return ctx.Err()
	}
}
