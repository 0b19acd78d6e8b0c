package scheduler_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// TestHostileModulesByEveryRoute: the program itself, as people use it. In the
// short tier every other module goes one of the ways.
func TestHostileModulesByEveryRoute(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	p := newPerson(t)
	routes := []struct {
		name          string
		take          func(string) ended
		capped, empty bool // its output, its input
	}{
		{"run", func(file string) ended { return p.run(file) }, false, false},
		{"run with a receipt", p.attested, false, false},
		{"execute-job", p.execute, true, false},
		{"daemon", p.posted, true, true},
	}
	for i, h := range scheduler.HostileModules() {
		file := p.path(strconv.Itoa(i) + ".wasm")
		if err := os.WriteFile(file, h.Module(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := os.Getenv("PHASE_TIER") == "all"
	var daemon *exec.Cmd
	for r, route := range routes {
		if route.name == "daemon" { // the routes before it must not find one
			daemon = p.daemon()
		}
		e := route.take(p.path(strconv.Itoa(len(scheduler.HostileModules())-1) + ".wasm")) // nothing at all
		p.base = e.dead.Sub(e.begun)
		for i, h := range scheduler.HostileModules() {
			if !all && i%(2*len(routes)) != r {
				continue
			}
			t.Run(route.name+"/"+h.Name(), scheduler.Thrice(func(t *testing.T) error {
				p.t = t
				may := slices.Clone(h.Outcomes())
				for i, o := range may {
					if o == job.Output && !route.capped {
						may[i] = job.Timeout
					}
				}
				if route.empty && h.Name() == "blocking read" {
					may = []job.Outcome{job.Exited}
				}
				p.limit = h.Limit()
				return p.check(route.take(p.path(strconv.Itoa(i)+".wasm")), may)
			}))
		}
		p.t = t
	}
	killed(t, p, daemon)
}

// check holds the end of a run to what it may be, and its receipt to the same.
// It is an error that it was late.
func (p *person) check(e ended, may []job.Outcome) (late error) {
	t := p.t
	t.Helper()
	t.Logf("%s %d after %v", e.outcome, e.code, e.dead.Sub(e.begun))
	if e.outcome != job.Output { // which is 64 MiB to print
		late = scheduler.OnTime(e.begun.Add(p.limit+p.base), e.dead)
	}
	if !slices.ContainsFunc(may, func(o job.Outcome) bool {
		return e.code == o.ExitCode(0) && (e.outcome == "" || e.outcome == o)
	}) {
		t.Errorf("%s, exit code %d; want %v", e.outcome, e.code, may)
	}
	if e.receipt == nil {
		return late
	}
	s, err := receipt.Verify(e.receipt, p.pin())
	if err != nil {
		t.Fatal(err)
	}
	said := s.Predicate
	if !slices.Contains(may, said.Outcome) || said.ExitCode != e.code || e.outcome != "" && said.Outcome != e.outcome {
		t.Errorf("the receipt says %s %d, and the route %s %d", said.Outcome, said.ExitCode, e.outcome, e.code)
	}
	return errors.Join(late, scheduler.OnTime(said.Started.Add(p.limit), said.Finished))
}
