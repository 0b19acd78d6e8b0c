package network

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/remote"
)

// What the job is. Its output is the input with the case of the letters changed,
// so that neither stands in the other.
const (
	jobModule = "TheModuleOfTheJobIsASecretOfWhoSendsIt"
	jobInput  = "TheInputOfTheJobIsASecretOfWhoSendsIt"
)

var jobOutput = strings.Map(func(r rune) rune { return r ^ ' ' }, jobInput)

// swapper is a WebAssembly module that changes the case of letters. secret stands
// in its memory and does nothing.
func swapper(secret string) []byte {
	vector := func(items ...string) string {
		b := binary.AppendUvarint(nil, uint64(len(items)))
		return string(b) + strings.Join(items, "")
	}
	text := func(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }
	section := func(id byte, body string) string { return string(id) + text(body) }
	imported := func(name string) string { return text("wasi_snapshot_preview1") + text(name) + "\x00\x00" }
	// In its memory are the input's buffer {64, 1024} at 0, the bytes read at 8,
	// the output's buffer {64, those} at 16 and the bytes written at 24.
	code := "\x01\x01\x7f" + // (local i32)
		"\x03\x40" + // loop
		"\x41\x00\x41\x00\x41\x01\x41\x08\x10\x00\x1a" + // fd_read(0, 0, 1, 8)
		"\x41\x00\x28\x02\x08\x04\x40" + // if there are bytes
		"\x41\x00\x21\x00" + // i = 0
		"\x03\x40" + // loop
		"\x20\x00\x20\x00\x2d\x00\x40\x41\x20\x73\x3a\x00\x40" + // buffer[i] ^= 32
		"\x20\x00\x41\x01\x6a\x22\x00\x41\x00\x28\x02\x08\x49\x0d\x00\x0b" + // while ++i < the bytes read
		"\x41\x00\x41\x00\x28\x02\x08\x36\x02\x14" + // as many are to be written
		"\x41\x01\x41\x10\x41\x01\x41\x18\x10\x01\x1a" + // fd_write(1, 16, 1, 24)
		"\x0c\x01\x0b\x0b\x0b"
	data := func(at byte, bytes string) string { return "\x00\x41" + string(at) + "\x0b" + text(bytes) }
	return []byte("\x00asm\x01\x00\x00\x00" +
		section(1, vector("\x60\x04\x7f\x7f\x7f\x7f\x01\x7f", "\x60\x00\x00")) +
		section(2, vector(imported("fd_read"), imported("fd_write"))) +
		section(3, vector("\x01")) +
		section(5, vector("\x00\x01")) +
		section(7, vector(text("memory")+"\x02\x00", text("_start")+"\x00\x02")) +
		section(10, vector(text(code))) +
		section(11, vector(data(0, "\x40\x00\x00\x00\x00\x04\x00\x00"), data(16, "\x40\x00\x00\x00"), data(28, secret))))
}

// module writes the job's module into a folder of the test.
func module(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "job.wasm")
	if err := os.WriteFile(path, swapper(jobModule), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// execute sends a job by `plasmd execute-job` and checks what comes back: the
// program has verified the receipt, and the test does again, under the peer id of
// the worker that it expects, "" for any.
func (n *node) execute(t testing.TB, worker string, args ...string) remote.Answer {
	t.Helper()
	answer, stderr, err := n.send(t, args...)
	if err != nil {
		t.Fatalf("%s: execute-job %q: %v: %s\n%s", n.machine.Name, args, err, stderr, strings.Join(n.Lines(), "\n"))
	}
	n.check(t, worker, answer)
	return answer
}

func (n *node) check(t testing.TB, worker string, a remote.Answer) {
	t.Helper()
	if a.Worker == n.id {
		t.Errorf("%s ran its job itself", n.machine.Name)
	}
	worker = cmp.Or(worker, a.Worker)
	key, err := identity.ParsePeerID(worker)
	if err != nil {
		t.Fatal(err)
	}
	statement, err := receipt.Verify(a.Receipt, receipt.Pin{PeerID: worker, Key: key})
	if err != nil {
		t.Fatalf("%s: the receipt: %v", n.machine.Name, err)
	}
	module, output := sha256.Sum256(swapper(jobModule)), sha256.Sum256([]byte(jobOutput))
	if a.Stdout == nil || *a.Stdout != jobOutput || a.Outcome != job.Exited ||
		statement.Predicate.ModuleHash != "sha256:"+hex.EncodeToString(module[:]) ||
		len(statement.Subject) != 2 || statement.Subject[0].Digest["sha256"] != hex.EncodeToString(output[:]) {
		t.Errorf("%s: the job came to %+v; its receipt says %+v", n.machine.Name, a, statement)
	}
}

// send sends a job and returns what came of it.
func (n *node) send(t testing.TB, args ...string) (answer remote.Answer, stderr string, err error) {
	t.Helper()
	args = append(slices.Clone(args), "--memory", "16", "--timeout", "20", module(t))
	stdout, stderr, err := n.run(t, jobInput, "execute-job", args...)
	if err == nil {
		err = json.Unmarshal([]byte(stdout), &answer)
	}
	return answer, stderr, err
}
