package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/compute/worker"
)

func run(ctx context.Context, args []string, _ io.Reader, stdout, _ io.Writer) error {
	var line struct {
		Bin    string `default:"build/bin" help:"The folder that make build has filled."`
		Before string `help:"Another phase, to compare with (default: that of --bin, without the worker's program)." placeholder:"FILE"`
		Starts int    `default:"100" help:"Starts of each program."`
		Jobs   int    `default:"1000" help:"Jobs of each daemon in a turn."`
		Turns  int    `default:"3" help:"Turns of each daemon; the best counts."`
	}
	if _, err := program.Parse("benchstart", "Measure what a start costs, and jobs a second.", &line, args, stdout, stdout); err != nil {
		return err
	}
	if line.Before == "" {
		line.Before = filepath.Join(line.Bin, "phase")
	}
	dir, err := os.MkdirTemp("", "benchstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// On one file system, which counts. Alone in a folder it finds no worker's
	// program, and starts itself.
	alone, now, own := filepath.Join(dir, "alone", "phase"), filepath.Join(dir, "phase"), filepath.Join(dir, worker.File)
	for to, from := range map[string]string{alone: line.Before, now: filepath.Join(line.Bin, "phase"), own: filepath.Join(line.Bin, worker.File)} {
		if err := copyProgram(from, to); err != nil {
			return err
		}
	}
	programs := []*measured{
		{what: "verify --version, before", command: []string{alone, "verify", "--version"}},
		{what: "verify --version", command: []string{now, "verify", "--version"}},
		{what: "worker, before: the one binary", command: []string{alone, "plasmd", worker.Command}},
		{what: "worker: its own program", command: []string{own}},
	}
	for range line.Starts {
		for _, p := range programs {
			if err := p.start(ctx); err != nil {
				return err
			}
		}
	}
	rows := [][]string{{"STARTS", "CPU LEAST", "CPU MEDIAN", "WALL LEAST", "WALL MEDIAN"}}
	for _, p := range programs {
		rows = append(rows, p.row())
	}
	if err := ui.Table(stdout, rows); err != nil {
		return err
	}
	rows = [][]string{{"FRESH JOBS", "BEST", "MEDIAN"}}
	rates := make([][]float64, 2)
	for range line.Turns {
		for i, phase := range []string{alone, now} {
			rate, err := jobs(ctx, phase, line.Jobs)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	for i, what := range []string{"before", "with the worker's own program"} {
		slices.Sort(rates[i])
		rows = append(rows, []string{what, perSecond(rates[i][len(rates[i])-1]), perSecond(rates[i][len(rates[i])/2])})
	}
	fmt.Fprintln(stdout)
	return ui.Table(stdout, rows)
}

func perSecond(rate float64) string { return fmt.Sprintf("%.0f a second", rate) }

// measured is a program that is started again and again.
type measured struct {
	what      string
	command   []string
	cpu, wall []time.Duration
}

// start starts it once. A worker that nobody gave a channel ends at once, when all
// of it is there.
func (m *measured) start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, m.command[0], m.command[1:]...)
	begin := time.Now()
	err := cmd.Run()
	m.wall = append(m.wall, time.Since(begin))
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("starting %s: %w", m.what, err)
	}
	m.cpu = append(m.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	return nil
}

func (m *measured) row() []string {
	row := []string{m.what}
	for _, took := range [][]time.Duration{m.cpu, m.wall} {
		slices.Sort(took)
		for _, d := range []time.Duration{took[0], took[len(took)/2]} {
			row = append(row, fmt.Sprintf("%.1f ms", d.Seconds()*1e3))
		}
	}
	return row
}

func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("%w; make build makes it", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
