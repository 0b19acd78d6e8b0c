package job

// Outcome is how a job ended.
type Outcome string

// All outcomes.
const (
	Exited    Outcome = "exited"    // by itself, with its own exit code
	Trapped   Outcome = "trapped"   // WebAssembly trap
	Timeout   Outcome = "timeout"   // killed at its deadline
	Memory    Outcome = "memory"    // its worker hit the memory limit
	Output    Outcome = "output"    // wrote more than output_bytes
	Cancelled Outcome = "cancelled" // killed because the requester left
)

// codes are the exit codes of the outcomes that are not the module's own. They
// are what a shell shows for a program that was aborted (SIGABRT), timed out
// (timeout(1)), killed, cut off (SIGPIPE) or interrupted.
var codes = map[Outcome]uint32{Trapped: 134, Timeout: 124, Memory: 137, Output: 141, Cancelled: 130}

// ExitCode returns the exit code of an outcome; exited is the module's own
// code, which counts for the outcome Exited alone.
func (o Outcome) ExitCode(exited uint32) uint32 {
	if o == Exited {
		return exited
	}
	return codes[o]
}

// Known reports whether o is one of the outcomes.
func (o Outcome) Known() bool { return o == Exited || codes[o] != 0 }
