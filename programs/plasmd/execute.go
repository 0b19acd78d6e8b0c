package plasmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"phase/appliance/base/identity"
	"phase/appliance/base/program"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
)

// executeCmd runs a module as a job: with the limits of one, and a receipt that
// is verified before anything is printed. What comes after WASM is the module's.
type executeCmd struct {
	asking
	On       string   `placeholder:"PEER" help:"Have another node run it: the one of this peer id, or auto for the one that fits best. Needs the daemon."`
	Replicas int      `placeholder:"K" default:"1" range:"1-16" help:"Have K nodes run it and take what the majority finds, 1 to 16; more than one means --on auto."`
	CPU      int      `name:"cpu" placeholder:"N" default:"1" range:"1-64" help:"Cores the module may use, 1 to 64."`
	Memory   int      `placeholder:"MB" default:"512" range:"1-4096" help:"MiB of memory the module may have, 1 to 4096."`
	Timeout  limit    `placeholder:"D" default:"60s" help:"Kill the module after this time (90s, 5m, or a number of seconds; at most 1h), in whole seconds, rounded up."`
	Env      []string `placeholder:"K=V" sep:"none" help:"Set a variable in the module's environment."`
	JSON     bool     `name:"json" short:"j" help:"Print the object in one line."`
	Command  []string `arg:"" name:"wasm" passthrough:"" help:"The module, and its arguments."`
}

func (c *executeCmd) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	where, err := c.where()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	offer, err := c.offer(ctx, stdin, cancel, where)
	if err != nil {
		return err
	}
	done, err := c.execute(ctx, offer, where, stderr)
	if in, ok := offer.Input.(*incoming); ok && in.stop() != nil {
		return in.stop() // the job was ended for it
	}
	if err != nil {
		return err
	}
	return c.print(stdout, done)
}

// where says who is to run the job; On is "" for here.
func (c *executeCmd) where() (remote.Where, error) {
	w := remote.Where{On: c.On, Replicas: c.Replicas}
	if w.On != "" && w.On != remote.Auto {
		if _, err := identity.ParsePeerID(w.On); err != nil {
			return w, program.Usagef("--on: %q is neither auto nor a peer id: %w; `plasmd peers` lists those that are connected", w.On, err)
		}
		if w.Replicas > 1 {
			return w, program.Usagef("--replicas: the nodes are picked for you, so say --on auto, or leave --on out")
		}
	}
	if w.Replicas > 1 {
		w.On = remote.Auto
	}
	return w, nil
}

// print prints the object, on one line or for people.
func (c *executeCmd) print(stdout io.Writer, answer any) error {
	if !c.JSON {
		return program.PrintJSON(stdout, answer)
	}
	data, err := strictjson.Marshal(answer)
	if err == nil {
		_, err = stdout.Write(append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// offer turns the command line into an offer, reading the module, and the input
// as far as it is there; all of it where the job may have to be sent more than
// once. Broken is called when the rest of it cannot be read.
func (c *executeCmd) offer(ctx context.Context, stdin io.Reader, broken func(), where remote.Where) (scheduler.Offer, error) {
	task, err := (&runCmd{Memory: c.Memory, Timeout: c.Timeout, Env: c.Env, Command: c.Command}).task()
	if err != nil {
		return scheduler.Offer{}, err
	}
	o := scheduler.Offer{Module: task.Module, Nonce: scheduler.NewNonce()}
	if w, ok := stdin.(io.Writer); !ok || !ui.IsTerminal(w) {
		in := newIncoming(stdin, broken)
		again := where.On == remote.Auto
		if o.Stdin, err = in.ahead(ctx, again); err != nil {
			return scheduler.Offer{}, err
		}
		switch {
		case o.Stdin != nil:
		case again:
			return scheduler.Offer{}, fmt.Errorf("reading standard input: it is longer than the %d bytes that a job with --on auto can have: it may have to be sent again; name the node with --on PEER, or give it less", api.MaxStdin)
		default:
			o.Input = in
		}
	}
	task.Cores = c.CPU
	wanted := jobOf(task)
	if o.Input == nil {
		wanted.StdinHash = job.Hash(o.Stdin)
	}
	o.Spec, err = job.New(wanted)
	return o, err
}

// execute sends the offer to the daemon, or runs it in this process when there
// is none and no other node is to run it. It returns the object that tells of the
// job, verified: its receipt is of the node that was to run it.
func (c *executeCmd) execute(ctx context.Context, o scheduler.Offer, where remote.Where, stderr io.Writer) (any, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	node, err := client.Node(ctx)
	switch {
	case err == nil && where.On != "":
		return elsewhere(ctx, client, o, where, stderr)
	case err == nil:
		return here(ctx, node.PeerID, o, client.Execute)
	case errors.Is(err, api.ErrNoDaemon) && where.On != "":
		return nil, fmt.Errorf("another node is reached through the daemon on this machine: %w", err)
	case c.Socket != "" || !errors.Is(err, api.ErrNoDaemon):
		return nil, err
	}
	runner, id, leave, err := runnerHere()
	if err != nil {
		return nil, err
	}
	defer leave()
	return here(ctx, id.PeerID(), o, runner.Execute)
}

// here has a job run by the node of this machine, whose peer id is known.
func here(ctx context.Context, peerID string, o scheduler.Offer, run func(context.Context, scheduler.Offer) (scheduler.Done, error)) (any, error) {
	key, err := identity.ParsePeerID(peerID)
	if err != nil {
		return nil, fmt.Errorf("asking the daemon: %w", err)
	}
	done, err := run(ctx, o)
	if err == nil {
		err = done.Verify(o, receipt.Pin{PeerID: peerID, Key: key})
	}
	return done.Answer(), err
}

// elsewhere has a job run by other nodes, and tells on stderr of those that were
// asked in vain. The peer that was named is the one whose receipt counts, whatever
// the daemon says.
func elsewhere(ctx context.Context, client *api.Client, o scheduler.Offer, where remote.Where, stderr io.Writer) (any, error) {
	done, err := client.ExecuteOn(ctx, where, o)
	if err == nil {
		err = done.Verify(where, o)
	}
	if err != nil && len(done.Attempts) < 2 {
		return nil, err // it says it all
	}
	for _, a := range done.Attempts {
		if len(done.Attempts) > 1 {
			fmt.Fprintln(stderr, "plasmd:", told(a))
		}
	}
	for _, liar := range done.Liars {
		fmt.Fprintf(stderr, "plasmd: peer %s lied: its receipt is not of what the majority found\n", ui.Clean(liar))
	}
	return done.Answer(), err
}

// told is what became of an attempt, in one line.
func told(a remote.Attempt) string {
	line := "peer " + ui.Clean(a.Peer) + ": " + ui.Clean(a.Result)
	for _, more := range []string{a.Code, a.Reason} {
		if more != "" {
			line += ": " + ui.Clean(more)
		}
	}
	return line
}
