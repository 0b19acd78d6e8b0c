package plasmd

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"phase/appliance/base/identity"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
)

// runHere runs a task without a daemon.
func runHere(ctx context.Context, t scheduler.Task) (scheduler.Result, error) {
	pool := poolHere()
	defer pool.Leave()
	return pool.Run(ctx, t)
}

// runnerHere makes the runner of one command, which signs as the user who runs it.
func runnerHere() (*scheduler.Runner, identity.Identity, func(), error) {
	id, err := laptopIdentity()
	if err != nil {
		return nil, id, nil, err
	}
	runner := scheduler.NewRunner(id)
	runner.Pool = poolHere()
	return runner, id, runner.Pool.Leave, nil
}

// poolHere makes the pool of one command. Compiled modules are kept for the
// next where there is a place for them: /var/cache/phase or
// $XDG_CACHE_HOME/phase, authenticated by a key beside the identity. Without one
// every command compiles, and nothing else is different.
func poolHere() *scheduler.Pool {
	var config scheduler.PoolConfig
	if kept, err := keptHere(); err == nil {
		config.Cache, _ = modulecache.Open(kept)
	}
	return scheduler.NewPool(config)
}

func keptHere() (modulecache.Config, error) {
	keys, err := dataDir()
	if err != nil {
		return modulecache.Config{}, err
	}
	cache, err := place("cache", "/var/cache/phase", "XDG_CACHE_HOME", ".cache")
	if err != nil {
		return modulecache.Config{}, err
	}
	return modulecache.Config{Keys: keys, Dir: filepath.Join(cache, "modules")}, os.MkdirAll(keys, 0o700)
}

// pool is where the node's jobs run. Compiled modules are kept beside the
// identity, which a user who can write that folder has already; without a folder
// they are kept in memory.
func (c startCmd) pool(s server) (*scheduler.Pool, error) {
	pool, err := scheduler.OpenPool(modulecache.Config{Keys: c.Data})
	if err != nil && c.Data != "" {
		s.problems.Add(err)
		pool, err = scheduler.OpenPool(modulecache.Config{})
	}
	return pool, err
}

// jobWalls asks a worker, once and not before it is needed, which walls stand around
// it.
func jobWalls(pool *scheduler.Pool) func() []string {
	return sync.OnceValue(func() []string {
		names, err := pool.Walls(context.Background())
		if err != nil {
			return []string{"unknown: " + err.Error()}
		}
		return names
	})
}
