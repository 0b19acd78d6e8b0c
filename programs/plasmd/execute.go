package plasmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"phase/appliance/base/identity"
	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
)

// executeCmd runs a module as a job: with the limits of one, and a receipt that
// is verified before anything is printed. What comes after WASM is the module's.
type executeCmd struct {
	asking
	CPU     int      `name:"cpu" placeholder:"N" default:"1" range:"1-64" help:"Cores the module may use, 1 to 64."`
	Memory  int      `placeholder:"MB" default:"512" range:"1-4096" help:"MiB of memory the module may have, 1 to 4096."`
	Timeout limit    `placeholder:"D" default:"60s" help:"Kill the module after this time (90s, 5m, or a number of seconds; at most 1h), in whole seconds, rounded up."`
	Env     []string `placeholder:"K=V" sep:"none" help:"Set a variable in the module's environment."`
	JSON    bool     `name:"json" short:"j" help:"Print the object in one line."`
	Command []string `arg:"" name:"wasm" passthrough:"" help:"The module, and its arguments."`
}

func (c *executeCmd) run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	offer, err := c.offer(ctx, stdin, cancel)
	if err != nil {
		return err
	}
	done, pin, err := c.execute(ctx, offer)
	if in, ok := offer.Input.(*incoming); ok && in.stop() != nil {
		return in.stop() // the job was ended for it
	}
	if err != nil {
		return err
	}
	if err := done.Verify(offer, pin); err != nil {
		return err
	}
	answer := done.AnswerIndented
	if c.JSON {
		answer = done.Answer
	}
	data, err := answer()
	if err != nil {
		return err
	}
	if _, err := stdout.Write(append(bytes.TrimSuffix(data, []byte("\n")), '\n')); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// offer turns the command line into an offer, reading the module, and the input
// as far as it is there. Broken is called when
// the rest of it cannot be read.
func (c *executeCmd) offer(ctx context.Context, stdin io.Reader, broken func()) (scheduler.Offer, error) {
	task, err := (&runCmd{Memory: c.Memory, Timeout: c.Timeout, Env: c.Env, Command: c.Command}).task()
	if err != nil {
		return scheduler.Offer{}, err
	}
	o := scheduler.Offer{Module: task.Module, Nonce: scheduler.NewNonce()}
	if w, ok := stdin.(io.Writer); !ok || !ui.IsTerminal(w) {
		in := newIncoming(stdin, broken)
		if o.Stdin, err = in.ahead(ctx); err != nil {
			return scheduler.Offer{}, err
		}
		if o.Stdin == nil {
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
// is none. The pin is the node that was asked.
func (c *executeCmd) execute(ctx context.Context, o scheduler.Offer) (scheduler.Done, receipt.Pin, error) {
	client, err := c.client()
	if err != nil {
		return scheduler.Done{}, receipt.Pin{}, err
	}
	node, err := client.Node(ctx)
	if err == nil {
		key, err := identity.ParsePeerID(node.PeerID)
		if err != nil {
			return scheduler.Done{}, receipt.Pin{}, fmt.Errorf("asking the daemon: %w", err)
		}
		done, err := client.Execute(ctx, o)
		return done, receipt.Pin{PeerID: node.PeerID, Key: key}, err
	}
	if c.Socket != "" || !errors.Is(err, api.ErrNoDaemon) {
		return scheduler.Done{}, receipt.Pin{}, err
	}
	id, err := laptopIdentity()
	if err != nil {
		return scheduler.Done{}, receipt.Pin{}, err
	}
	pool := poolHere()
	defer pool.Leave()
	runner := scheduler.NewRunner(id)
	runner.Pool = pool
	done, err := runner.Execute(ctx, o)
	return done, receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}, err
}
