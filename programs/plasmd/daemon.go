package plasmd

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/config"
	"phase/appliance/daemon/journal"
	"phase/appliance/daemon/page"
	"phase/appliance/machine/linux"
)

// What holds without a configuration. The limits of memory come from the machine.
const (
	defaultQueue        = 256
	defaultPerRequester = 128
	defaultOutputMB     = 64
	defaultRuns         = 10_000
	defaultHistoryMB    = 64
	defaultDrain        = 4 * time.Second // init kills four seconds later
	minHeld             = 192 << 20       // a job of the largest module and input, and a few small ones
	nonces              = 1 << 16         // offers remembered beyond their runs
)

// inMemory bounds what is remembered where nothing is kept.
var inMemory = history.Limits{Runs: 1000, Bytes: 8 << 20, Nonces: 1 << 14}

// or is what a key of the configuration says, or its default.
func or[T any](value *T, without T) T {
	if value != nil {
		return *value
	}
	return without
}

// limits are what jobs may have here. A machine with less memory than the
// default job asks for runs that job all the same: it asks for a limit, which
// few modules come near.
func limits(c config.Jobs) (scheduler.Limits, error) {
	memory, err := linux.ReadMemory()
	if err != nil {
		return scheduler.Limits{}, err
	}
	cores := runtime.NumCPU()
	if asked := or(c.Cores, int64(cores)); asked > int64(cores) {
		return scheduler.Limits{}, fmt.Errorf("jobs.cores: %d is out of range, 1 to %d is allowed: that is all this machine has", asked, cores)
	}
	return scheduler.Limits{
		Cores:        int(or(c.Cores, int64(cores))),
		MemoryMB:     int(or(c.MemoryMB, max(memory.Total>>20, job.DefaultMemoryMB))),
		Queue:        int(or(c.Queue, defaultQueue)),
		PerRequester: int(or(c.PerRequester, defaultPerRequester)),
		TimeoutSec:   int(or(c.TimeoutSeconds, job.MaxTimeoutSeconds)),
		OutputBytes:  or(c.OutputMB, defaultOutputMB) << 20,
		HeldBytes:    max(minHeld, memory.Total/4),
	}, nil
}

// openHistory opens what is remembered. One that is damaged is kept aside, and
// one that cannot be kept is held in memory: the node computes all the same,
// and says so. A folder that another plasmd uses is an error, and on a laptop a
// history of another user's.
func (c startCmd) openHistory(s server, conf config.History) (*history.History, error) {
	if c.Data == "" {
		return history.Open("", inMemory)
	}
	path := filepath.Join(c.Data, history.File)
	bounds := history.Limits{Runs: int(or(conf.Runs, defaultRuns)), Bytes: or(conf.SizeMB, defaultHistoryMB) << 20, Nonces: nonces}
	h, err := history.Open(path, bounds)
	if errors.Is(err, history.ErrDamaged) {
		aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405Z")
		s.problems.Add(fmt.Errorf("%w; it is kept as %s", err, aside))
		if err = os.Rename(path, aside); err == nil {
			h, err = history.Open(path, bounds)
		}
	}
	if err == nil || errors.Is(err, history.ErrInUse) || !s.node && errors.Is(err, fs.ErrPermission) {
		return h, c.whose(err)
	}
	s.problems.Add(fmt.Errorf("%w; what is run is forgotten at the end", err))
	return history.Open("", inMemory)
}

// compute gives the node its jobs: where they run, what is remembered of them,
// and who may ask. The returned function ends all of it.
func (c startCmd) compute(s server, conf config.Config, log *journal.Log, token string) (j jobs, end func() error, err error) {
	bounds, err := limits(conf.Jobs)
	if err != nil {
		return j, nil, err
	}
	h, err := c.openHistory(s, conf.History)
	if err != nil {
		return j, nil, err
	}
	pool, err := c.pool(s)
	if err != nil {
		return j, nil, errors.Join(err, h.Close())
	}
	end = func() error {
		pool.Close()
		return h.Close()
	}
	runner := scheduler.NewRunner(s.id)
	runner.Pool = pool
	j.runs, j.sandbox, j.warm = scheduler.New(runner, h, bounds, time.Now), jobWalls(pool), pool.Warm
	j.drain = time.Duration(or(conf.DrainSeconds, int64(defaultDrain/time.Second))) * time.Second
	v1 := api.Config{
		Runs: j.runs, History: h, Log: log,
		Name: s.id.Name(), PeerID: s.id.PeerID(), Version: program.Version, Arch: names.RunningArch(),
		Update: askUpdates(c.State, s.network, s.id),
	}
	j.page = page.New(page.Config{Runs: j.runs, History: h, Disk: c.Data, Taken: takenHere(c.State)})
	v1.Events = j.page.Events(true)
	v1.Support, s.bundle.update = s.bundle.write, v1.Update
	if s.network != nil {
		if s.node {
			takeOrders(s.network, c.State, s.admins)
		}
		v1.Releases = s.network.Releases
		dispatcher, book := sendJobs(s.network, s.id.PeerID())
		v1.Remote, v1.Peers = dispatcher, peers(s.id.PeerID(), s.network, book)
		s.bundle.peers = v1.Peers
		accept, err := remote.ParseAccept(c.Accept)
		if err == nil {
			err = runJobs(s.network, remote.Config{Runs: j.runs, History: h, Accept: accept, PeerID: s.id.PeerID(), Arch: names.RunningArch(), Sign: s.id.Sign, Release: s.release, Failed: failedHere(c.State)}, s.private)
		}
		if err != nil {
			return j, nil, errors.Join(err, end())
		}
	}
	j.local = api.Socket(v1)
	if j.v1, err = api.Handler(v1, token); err != nil {
		return j, nil, errors.Join(err, end())
	}
	return j, end, nil
}

// configure reads the configuration, whose keys the flags win over. There need
// be none, unless one is named.
func (c *startCmd) configure() (config.Config, error) {
	path := c.Config
	if path == "" {
		var err error
		if path, err = configPath(); err != nil {
			// Without a home there is no configuration in it.
			slog.Debug("configuration", "error", err)
			return config.Config{}, nil
		}
	}
	conf, err := config.Load(path)
	if c.Config == "" && errors.Is(err, fs.ErrNotExist) {
		return config.Config{}, nil
	}
	if err != nil {
		return config.Config{}, err
	}
	for _, of := range []struct {
		flag *string
		key  *string
	}{{&c.HTTP, conf.HTTP}, {&c.Socket, conf.Socket}, {&c.Data, conf.Data}} {
		if *of.flag == "" && of.key != nil {
			*of.flag = *of.key
		}
	}
	return conf, nil
}
