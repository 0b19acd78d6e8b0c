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
	pending map[int]chan error
	gone    chan struct{}
}

func newMonitor(conn net.Conn, event func(string, map[string]any)) *monitor {
	m := &monitor{conn: conn, event: event, pending: map[int]chan error{}, gone: make(chan struct{})}
	go m.read()
	return m
}

func (m *monitor) read() {
	defer close(m.gone)
	defer m.conn.Close()
	dec := json.NewDecoder(bufio.NewReader(m.conn))
	for {
		var msg struct {
			ID    *int                   `json:"id"`
			Error *struct{ Desc string } `json:"error"`
			Event string                 `json:"event"`
			Data  map[string]any         `json:"data"`
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
			if ch == nil {
				continue
			}
			if msg.Error != nil {
				ch <- errors.New(msg.Error.Desc)
			}
			close(ch)
		}
	}
}

// command runs one QMP command. None of those used here returns anything.
func (m *monitor) command(ctx context.Context, name string, args any) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("asking QEMU for %s: %w", name, err)
		}
	}()
	ch := make(chan error, 1)
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
	case err := <-ch:
		return err
	case <-m.gone:
		return errors.New("it is gone")
	case <-ctx.Done():
		return ctx.Err()
	}
}
