package capability

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Requirement is what a job needs of a node. Zero fields need nothing; Arch is
// "" where any will do.
type Requirement struct {
	Arch           string
	Cores          int
	MemoryMB       int
	TimeoutSeconds int
	OutputBytes    int64
	Runtime        string // its name
	Profile        string
}

// Candidate is a verified record, and how long its node takes to answer.
type Candidate struct {
	Record
	Signed  []byte        // the record as its node has signed it
	Latency time.Duration // 0 where it was not measured
}

// Misfit is why a node does not fit. Reason is one of the reasons for which a
// worker rejects an offer; Detail names the figure that is missing.
type Misfit struct {
	PeerID string `json:"peer_id"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

func (m Misfit) String() string { return fmt.Sprintf("%s: %s: %s", m.PeerID, m.Reason, m.Detail) }

// Match returns those that fit, the best first, and why the others do not. Those
// that can begin at once come first, then the less loaded, then more free
// memory, then the nearer; peer ids put an end to ties.
func Match(candidates []Candidate, want Requirement) (fit []Candidate, misfits []Misfit) {
	for _, c := range candidates {
		if reason, detail := c.lacks(want); reason != "" {
			misfits = append(misfits, Misfit{c.PeerID, reason, detail})
		} else {
			fit = append(fit, c)
		}
	}
	slices.SortFunc(fit, func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(a.waits(want), b.waits(want)),
			cmp.Compare(a.load(), b.load()),
			cmp.Compare(b.FreeMB, a.FreeMB),
			cmp.Compare(a.Latency, b.Latency),
			cmp.Compare(a.PeerID, b.PeerID),
		)
	})
	return fit, misfits
}

// load is how many jobs there are for each core.
func (r Record) load() float64 { return float64(r.Load.Running+r.Load.Waiting) / float64(r.Cores) }

// waits is 1 where the job would have to wait, else 0.
func (r Record) waits(want Requirement) int {
	if r.Load.Waiting > 0 || r.Load.Running >= r.Cores || r.FreeMB < want.MemoryMB {
		return 1
	}
	return 0
}

// lacks says what a node lacks, "" if nothing.
func (r Record) lacks(want Requirement) (reason, detail string) {
	if want.Arch != "" && want.Arch != r.Arch {
		return "ArchMismatch", fmt.Sprintf("arch: %s asked for, it is %s", want.Arch, r.Arch)
	}
	if r.Accept == "none" {
		return "NotAuthorized", "it runs no jobs of others"
	}
	if !slices.ContainsFunc(r.Runtimes, func(t Runtime) bool {
		return (want.Runtime == "" || want.Runtime == t.Name) && (want.Profile == "" || slices.Contains(t.Profiles, want.Profile))
	}) {
		return "RuntimeNotSupported", fmt.Sprintf("%s with %s asked for, it has %s", cmp.Or(want.Runtime, "any runtime"), cmp.Or(want.Profile, "any profile"), r.runtimes())
	}
	for _, f := range []struct {
		name       string
		asks, most int64
	}{
		{"cpu_cores", int64(want.Cores), int64(r.Cores)},
		{"memory_mb", int64(want.MemoryMB), int64(r.MemoryMB)},
		{"timeout_seconds", int64(want.TimeoutSeconds), int64(r.TimeoutSeconds)},
		{"output_bytes", want.OutputBytes, r.OutputBytes},
	} {
		if f.asks > f.most {
			return "InsufficientResources", fmt.Sprintf("%s: %d asked for, it gives at most %d", f.name, f.asks, f.most)
		}
	}
	if r.Load.Waiting >= r.Load.Queue && r.waits(want) == 1 {
		return "QueueFull", fmt.Sprintf("%d jobs run and %d wait, which is all there is room for", r.Load.Running, r.Load.Waiting)
	}
	return "", ""
}

func (r Record) runtimes() string {
	text := ""
	for _, t := range r.Runtimes {
		text += fmt.Sprintf("%s %v ", t.Name, t.Profiles)
	}
	return text[:max(0, len(text)-1)]
}
