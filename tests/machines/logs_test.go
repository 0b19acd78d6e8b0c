package machines

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"regexp"
	"testing"
	"time"

	log "phase/appliance/daemon/journal"
	"phase/qemu"
	"phase/tests/lab"
)

// said is a message of RFC 5424, and whose it is.
var said = regexp.MustCompile(`^<\d+>1 \S+ phase-[0-9a-f]{8} (\S+) `)

// TestLogsOut: the log of all that runs on a node, the kernel's among it, comes to a
// syslog server on its network, and to its owner over HTTP.
func TestLogsOut(t *testing.T) {
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	server, err := s.NewHost("syslog")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.AddAddress(netip.MustParsePrefix("10.1.0.9/24")); err != nil {
		t.Fatal(err)
	}
	messages, err := server.ListenPacket("10.1.0.9:514")
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Close()
	n := w.start(t, s, w.stick(t, "phase.ip=10.1.0.2/24", "phase.syslog=udp://10.1.0.9"), qemu.Config{Name: "node"})
	id := up(t, n, lab.Begin, stubVersion)

	missing := map[string]bool{"kernel": true, "init": true, "net": true, "update": true, "plasmd": true}
	if deadline, ok := patient(t).Deadline(); ok {
		if err := messages.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	for packet := make([]byte, 2048); len(missing) > 0; {
		size, _, err := messages.ReadFrom(packet)
		if err != nil {
			t.Fatalf("nothing came of %v: %v", missing, err)
		}
		of := said.FindSubmatch(packet[:size])
		if of == nil {
			t.Fatalf("this is no message of the node: %q", packet[:size])
		}
		delete(missing, string(of[1]))
	}
	for service := range map[string]bool{log.Kernel: true, "init": true} {
		q, err := http.NewRequestWithContext(patient(t), http.MethodGet, n.URL()+"/v1/logs?service="+service, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+id.Token)
		answer, err := n.HTTPClient().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		var logs log.Lines
		err = json.NewDecoder(answer.Body).Decode(&logs)
		answer.Body.Close()
		if err != nil || len(logs.Lines) == 0 || logs.Lines[0].Service != service || logs.Lines[0].Time.Before(time.Unix(0, 0)) {
			t.Errorf("the log of %s: %s, %d lines, %v", service, answer.Status, len(logs.Lines), err)
		}
	}
}
