package capability

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func candidate(peer string, change func(*Candidate)) Candidate {
	c := Candidate{Record: record(), Latency: time.Millisecond}
	if c.PeerID = peer; change != nil {
		change(&c)
	}
	return c
}

func TestMatchRanks(t *testing.T) {
	fit, misfits := Match([]Candidate{
		candidate("full", func(c *Candidate) { c.FreeMB = 100 }), // it would wait
		candidate("far", func(c *Candidate) { c.Latency = time.Second }),
		candidate("near", nil),
		candidate("busy", func(c *Candidate) { c.Load.Running = 3 }),
		candidate("idle", func(c *Candidate) { c.Load.Running = 0 }),
		candidate("large", func(c *Candidate) { c.FreeMB = 1999 }),
		candidate("Near", nil),
	}, Requirement{Cores: 1, MemoryMB: 512, TimeoutSeconds: 60, OutputBytes: 1, Runtime: "wazero", Profile: "wasip1"})
	var got []string
	for _, c := range fit {
		got = append(got, c.PeerID)
	}
	if want := []string{"idle", "large", "Near", "near", "far", "busy", "full"}; !slices.Equal(got, want) || misfits != nil {
		t.Errorf("ranked %q, want %q; misfits %v", got, want, misfits)
	}
}

func TestMatchSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		want         Requirement
		change       func(*Candidate)
		reason, says string
	}{
		{Requirement{Arch: "arm64"}, nil, "ArchMismatch", "arm64 asked for, it is x86_64"},
		{Requirement{Cores: 8}, nil, "InsufficientResources", "cpu_cores: 8 asked for, it gives at most 4"},
		{Requirement{MemoryMB: 2001}, nil, "InsufficientResources", "memory_mb: 2001 asked for, it gives at most 2000"},
		{Requirement{TimeoutSeconds: 3601}, nil, "InsufficientResources", "timeout_seconds"},
		{Requirement{OutputBytes: 1 << 30}, nil, "InsufficientResources", "output_bytes"},
		{Requirement{Runtime: "wasmtime"}, nil, "RuntimeNotSupported", "wasmtime with any profile asked for, it has wazero [wasip1]"},
		{Requirement{Profile: "wasip2"}, nil, "RuntimeNotSupported", "wasip2"},
		{Requirement{}, func(c *Candidate) { c.Accept = "none" }, "NotAuthorized", "no jobs"},
		{Requirement{}, func(c *Candidate) { c.Load = Load{4, 2, 2} }, "QueueFull", "4 jobs run and 2 wait"},
	} {
		fit, misfits := Match([]Candidate{candidate("it", c.change)}, c.want)
		if len(fit) != 0 || len(misfits) != 1 || misfits[0].Reason != c.reason || !strings.Contains(misfits[0].String(), c.says) {
			t.Errorf("%+v: %v, %v", c.want, fit, misfits)
		}
	}
}
