package attacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// edit replaces a text in a file of the product. The text must be there exactly
// once, so that code which moves is noticed.
type edit struct{ file, old, new string }

// mutant is the product without one check, and the rows of the matrix that must
// not hold then: group/row.
type mutant struct {
	name  string
	rows  []string
	edits []edit
}

// mutantsVar has mutants built and attacked: "all", or names with commas between
// them.
const mutantsVar = "PHASE_ATTACKS_MUTANTS"

// TestMutants: without any one of the checks the matrix is red. Otherwise than
// under `make test-attacks-mutants`, which takes minutes, it shows only that each
// check is still where the mutant takes it out.
func TestMutants(t *testing.T) {
	overlays := map[string]string{}
	for _, m := range mutants {
		overlay, err := m.overlay(t.TempDir())
		if err != nil {
			t.Errorf("%s: %v; bring tests/attacks up to date with the code", m.name, err)
		}
		overlays[m.name] = overlay
	}
	wanted := strings.Split(os.Getenv(mutantsVar), ",")
	picked := slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool {
		return !slices.Contains(wanted, "all") && !slices.Contains(wanted, m.name)
	})
	if len(picked) == 0 || t.Failed() {
		return
	}
	if red, _, err := matrixWith(t, phase(t), rowsOf(picked)...); err != nil || len(red) > 0 {
		t.Fatalf("the matrix is red without any mutant: %v, %v", red, err)
	}
	var survived []string
	for _, m := range picked {
		began := time.Now()
		program, err := build("mutant", "-overlay", overlays[m.name])
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		red, out, err := matrixWith(t, program, m.rows...)
		if err != nil {
			t.Errorf("%s: %v\n%s", m.name, err, out)
		}
		killer := strings.Join(red, ", ")
		if len(red) == 0 {
			survived = append(survived, m.name)
			killer = "SURVIVED " + strings.Join(m.rows, ", ")
		}
		m.print(t, killer, time.Since(began))
	}
	if len(survived) > 0 {
		t.Errorf("%d of %d mutants survived: %s", len(survived), len(picked), strings.Join(survived, ", "))
	}
}

// print adds a line to the table of mutants, and to the test's log.
func (m mutant) print(t *testing.T, killer string, took time.Duration) {
	t.Helper()
	line := fmt.Sprintf("%-22s %5.1f s  %s", m.name, took.Seconds(), killer)
	t.Log(line)
	path := os.Getenv(tableVar)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Error(err)
	}
}

// overlay writes the changed files into a folder, and what go build is told of
// them.
func (m mutant) overlay(dir string) (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	changed := map[string]string{}
	for _, e := range m.edits {
		path := filepath.Join(root, e.file)
		text, known := changed[path]
		if !known {
			data, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("%s holds %q %d times", e.file, e.old, n)
		}
		changed[path] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range changed {
		to := filepath.Join(dir, fmt.Sprint(len(replace.Replace))+".go")
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace.Replace[path] = to
	}
	data, err := json.Marshal(replace)
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, data, 0o644)
}

// rowsOf are the rows that any of them must turn red.
func rowsOf(list []mutant) (rows []string) {
	for _, m := range list {
		rows = append(rows, m.rows...)
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// matrixWith has this test binary try rows on a program, and returns those that
// did not hold. An error is a run that did not try them.
func matrixWith(t *testing.T, program string, rows ...string) (red []string, out string, err error) {
	t.Helper()
	groups := map[string][]string{}
	for _, r := range rows {
		group, name, _ := strings.Cut(r, "/")
		groups[group] = append(groups[group], name)
	}
	for group, names := range groups {
		command := exec.Command(os.Args[0], "-test.v", "-test.run", fmt.Sprintf("^TestMatrix$/^%s$/^rows/^(%s)$", group, strings.Join(names, "|")))
		command.Env = append(os.Environ(), programVar+"="+program, tableVar+"=")
		data, failed := command.CombinedOutput()
		out += string(data)
		if exit := (*exec.ExitError)(nil); failed != nil && !errors.As(failed, &exit) {
			return nil, out, failed
		}
		for _, name := range names {
			path := fmt.Sprintf(": TestMatrix/%s/rows(#[0-9]+)?/%s ", group, regexp.QuoteMeta(name))
			switch {
			case regexp.MustCompile("--- FAIL" + path).MatchString(out):
				red = append(red, group+"/"+name)
			case !regexp.MustCompile("--- PASS" + path).MatchString(out):
				err = errors.Join(err, fmt.Errorf("%s/%s was not tried", group, name))
			}
		}
	}
	return red, out, err
}
