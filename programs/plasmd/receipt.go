package plasmd

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"phase/appliance/base/envelope"
	"phase/appliance/base/identity"
	"phase/appliance/base/keypem"
	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

// receiptCmd holds the commands about receipts.
type receiptCmd struct {
	Verify receiptVerifyCmd `cmd:"" help:"Check a receipt, and what it speaks of."`
}

// receiptVerifyCmd checks a receipt against the node that was asked.
type receiptVerifyCmd struct {
	Key    string `required:"" placeholder:"PEER|FILE" help:"The node that was asked: its peer id, or a file with its public key (PEM)."`
	Job    string `placeholder:"F" help:"The job file that was sent."`
	Stdout string `placeholder:"F" help:"The output that came back."`
	Stderr string `placeholder:"F" help:"The error output that came back."`
	JSON   bool   `name:"json" short:"j" help:"Print one JSON object."`
	File   string `arg:"" name:"f" help:"The receipt, - for standard input."`
}

// verdict is what --json prints.
type verdict struct {
	OK        bool               `json:"ok"`
	Problem   string             `json:"problem,omitempty"`
	Statement *receipt.Statement `json:"statement,omitempty"`
}

func (c *receiptVerifyCmd) run(stdin io.Reader, stdout io.Writer) error {
	dashes := 0
	for _, name := range []string{c.File, c.Job, c.Stdout, c.Stderr} {
		if name == "-" {
			dashes++
		}
	}
	if dashes > 1 {
		return program.Usagef("standard input (-) can be only one of the files")
	}
	var statement receipt.Statement
	pin, err := parsePin(c.Key)
	if err == nil {
		statement, err = c.check(stdin, pin)
	}
	if c.JSON {
		v := verdict{OK: err == nil}
		if err != nil {
			v.Problem = ui.Clean(err.Error())
		} else {
			v.Statement = &statement
		}
		if err := program.PrintJSON(stdout, v); err != nil {
			return err
		}
		if !v.OK {
			return program.Exit{Code: 1}
		}
		return nil
	}
	if err != nil {
		return err
	}
	p := statement.Predicate
	_, err = fmt.Fprintf(stdout, "ok %s ran %s: %s %d after %d ms\n", pin.PeerID, p.ModuleHash, p.Outcome, p.ExitCode, p.WallTimeMS)
	return err
}

// check verifies the receipt and compares it with every file that was given.
func (c *receiptVerifyCmd) check(stdin io.Reader, pin receipt.Pin) (receipt.Statement, error) {
	data, err := readAll(c.File, stdin, envelope.MaxBytes)
	if err != nil {
		return receipt.Statement{}, err
	}
	s, err := receipt.Verify(data, pin)
	if err != nil {
		return receipt.Statement{}, err
	}
	if c.Job != "" {
		file, err := readAll(c.Job, stdin, strictjson.MaxBytes)
		if err != nil {
			return receipt.Statement{}, err
		}
		spec, err := job.Parse(file)
		if err != nil {
			return receipt.Statement{}, err
		}
		if err := s.CheckJob(spec); err != nil {
			return receipt.Statement{}, err
		}
	}
	for _, output := range []struct {
		name  string
		check func([sha256.Size]byte) error
	}{{c.Stdout, s.CheckStdout}, {c.Stderr, s.CheckStderr}} {
		if output.name == "" {
			continue
		}
		sum, err := sumFile(output.name, stdin)
		if err != nil {
			return receipt.Statement{}, err
		}
		if err := output.check(sum); err != nil {
			return receipt.Statement{}, err
		}
	}
	return s, nil
}

// parsePin reads a peer id or a public key file.
func parsePin(text string) (receipt.Pin, error) {
	key, notPeer := identity.ParsePeerID(text)
	if notPeer != nil {
		data, err := statefile.ReadCapped(text, 16<<10)
		if errors.Is(err, fs.ErrNotExist) {
			return receipt.Pin{}, fmt.Errorf("--key is neither a peer id nor a file: %w", notPeer)
		}
		if err != nil {
			return receipt.Pin{}, err
		}
		if key, err = keypem.DecodePublic(data); err != nil {
			return receipt.Pin{}, fmt.Errorf("reading the key %s: %w", ui.Clean(text), err)
		}
	}
	return receipt.Pin{PeerID: identity.PeerID(key), Key: ed25519.PublicKey(key)}, nil
}

// readAll reads a file, or standard input for "-", of at most limit bytes and
// one more, by which its parser refuses what is longer.
func readAll(name string, stdin io.Reader, limit int64) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(stdin, limit+1))
	}
	return statefile.ReadCapped(name, limit)
}

// sumFile hashes a file of any size, or standard input for "-".
func sumFile(name string, stdin io.Reader) (sum [sha256.Size]byte, err error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return sum, err
		}
		defer f.Close()
		stdin = f
	}
	h := sha256.New()
	if _, err := io.Copy(h, stdin); err != nil {
		return sum, fmt.Errorf("reading %s: %w", ui.Clean(name), err)
	}
	h.Sum(sum[:0])
	return sum, nil
}
