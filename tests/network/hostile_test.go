package network

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/daemon/api"
	"phase/tests/await"
	"phase/tests/storetest"
)

// rss is the memory that a process has for itself, in bytes.
func rss(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if kib, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ := strconv.Atoi(strings.Fields(kib)[0])
			return n << 10
		}
	}
	return 0
}

// metrics are the figures of a daemon, by name and labels.
func (d *daemon) metrics(t testing.TB) map[string]float64 {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
	}}}
	answer, err := client.Get("http://plasmd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	figures := map[string]float64{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			figures[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return figures
}

// sum is that of all figures whose names begin so.
func sum(figures map[string]float64, name string) (all float64) {
	for n, value := range figures {
		if strings.HasPrefix(n, name) {
			all += value
		}
	}
	return all
}

// What a crowd may take of a daemon beyond what it has when it is idle.
const mostMore = 64 << 20

// A hundred ids of one host, of which each opens streams and says nothing, asks
// and does not read, floods with offers and with records that nobody signed and of
// fleets made for it: few get in, what they send is refused and counted, and the
// daemon has room for an honest peer, within the memory that it may use.
func TestHostilePeers(t *testing.T) {
	sybils, fleets := 100, 300
	if all() {
		fleets = 1000
	}
	plasmd, w, signer := plasmd(t), newInternet(t), storetest.NewSigner(t)
	root := write(t, filepath.Join(t.TempDir(), "root.json"), signer.Root.Raw())
	honest := newDaemon(t, w, "honest", daemonArgs{root: root, memoryMB: 64})
	victim := newDaemon(t, w, "victim", daemonArgs{root: root, memoryMB: 3000, flags: []string{"--accept", honest.peer}})
	victim.start(t, plasmd)
	victim.until(t, "its start", func(api.Peers) bool { return true })
	honest.start(t, plasmd, victim.address)
	honest.until(t, "the other", func(p api.Peers) bool { return p.RoutingTable == 1 })
	if f := honest.job(t, 2000); f.Problem != "" || f.Peer != victim.peer {
		t.Fatalf("before there is anybody else: %+v", f)
	}
	idle := rss(victim.PID())

	m, _ := w.machine(t, "crowd")
	crowd := m.Again(t, "crowd", crowdArgs{Victim: victim.address, Sybils: sybils, Fleets: fleets})
	most, busy, said, began := 0, tally{}, "", time.Now()
	for said == "" {
		busy.add("honest", "job", honest.job(t, 2000))
		most = max(most, rss(victim.PID()))
		for _, line := range crowd.Lines() {
			if strings.HasPrefix(line, "{") {
				said = line
			}
		}
		if time.Since(began) > await.Patience {
			t.Fatalf("the crowd does not end; it said %q", crowd.Lines())
		}
	}
	busy.report(t, "an honest peer's jobs meanwhile")
	var came crowdSays
	if err := strictjson.Unmarshal([]byte(said), &came); err != nil {
		t.Fatalf("the crowd said %q: %v", said, err)
	}
	figures := victim.metrics(t)
	t.Logf("the crowd: %+v; memory idle %d MiB, at most %d MiB; %v of its records refused, %v held, %v bytes; %v peers, %v in the routing table", came, idle>>20, most>>20,
		sum(figures, "phase_dht_refused_records_total"), figures["phase_dht_records"], figures["phase_dht_foreign_record_bytes"], figures["phase_peers_connected"], figures["phase_dht_routing_table_peers"])
	if most-idle > mostMore {
		t.Errorf("the crowd cost %d MiB of memory", (most-idle)>>20)
	}
	if came.Connected > 40 || came.Connected+came.Refused != sybils {
		t.Errorf("%d of %d ids of one host are connected", came.Connected, sybils)
	}
	if came.Reset == 0 || came.Taken == 0 || came.Forged == 0 || came.ForgedTaken != 0 || came.Accepted != 0 {
		t.Errorf("what came of it is %+v", came)
	}
	if got := sum(figures, "phase_dht_refused_records_total"); got < 1 {
		t.Error("no refused record was counted")
	}
	if figures["phase_dht_records"] > 260 || figures["phase_dht_foreign_record_bytes"] > 4<<20 {
		t.Errorf("%v records are held, of %v bytes", figures["phase_dht_records"], figures["phase_dht_foreign_record_bytes"])
	}
	victim.until(t, "at most ten of the crowd in the routing table, and the honest one", func(p api.Peers) bool {
		return len(p.Peers) > came.Connected && p.RoutingTable <= 11
	})
}
