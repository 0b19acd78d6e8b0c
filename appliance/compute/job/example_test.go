package job_test

import (
	"errors"
	"fmt"

	"phase/appliance/compute/job"
)

// A job file is written from what is asked for, and checked like any other.
func Example() {
	module := []byte("\x00asm\x01\x00\x00\x00")
	j := job.Default(module)
	j.Args, j.TimeoutSeconds = []string{"--fast"}, 5
	spec, err := job.New(j)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", spec.File())
	fmt.Println(spec.ID())
	fmt.Println(spec.Timeout(), spec.OutputBytes()>>20, "MiB of output")
	fmt.Println(errors.Is(spec.AcceptHash(job.Hash([]byte("other")), nil), job.ErrModule))
	// Output:
	// {"version":"1.0","module_hash":"sha256:93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476","cpu_cores":1,"memory_mb":512,"timeout_seconds":5,"args":["--fast"]}
	// sha256:5350edb10f72511f87b2d54081be65bb677739f64a0839388447e48fece2634b
	// 5s 64 MiB of output
	// true
}

// What is wrong is said with the name of the field.
func ExampleParse() {
	_, err := job.Parse([]byte(`{"version": "1.0", "cpu_cores": 100}`))
	fmt.Println(err)
	var wrong *job.FieldError
	fmt.Println(errors.As(err, &wrong) && wrong.Field == "cpu_cores")
	// Output:
	// reading the job file: cpu_cores: 100 is out of range, 1 to 64 is allowed
	// true
}

// An outcome has the exit code that a shell shows for such an end.
func ExampleOutcome_ExitCode() {
	fmt.Println(job.Exited.ExitCode(3), job.Timeout.ExitCode(0), job.Memory.ExitCode(0))
	// Output: 3 124 137
}
