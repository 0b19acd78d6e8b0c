// Package job defines a job: the job file that a requester writes (module,
// arguments, input, limits), checked field by field, and the outcomes, which are
// the ways a job can end. It is pure. The digest of the file's bytes is the
// job's id, which every receipt carries.
package job

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"phase/appliance/base/strictjson"
)

// Version is the only version of the job file there is.
const Version = "1.0"

// The limits a job has when it names none: 512 MiB, 60 s, 64 MiB of output,
// one core.
const (
	DefaultMemoryMB       = 512
	DefaultTimeoutSeconds = 60
	DefaultOutputBytes    = 64 << 20
	DefaultCPUCores       = 1
)

// The largest limits a job may ask for; the smallest is 1 for each.
const (
	MaxCPUCores       = 64
	MaxMemoryMB       = 4096
	MaxTimeoutSeconds = 3600
	MaxOutputBytes    = 1 << 30
)

var mosts = map[string]int64{
	"cpu_cores": MaxCPUCores, "memory_mb": MaxMemoryMB, "timeout_seconds": MaxTimeoutSeconds, "output_bytes": MaxOutputBytes,
}

const (
	maxFile    = 1 << 20 // bytes of a job file
	maxArgs    = 4096    // arguments, and variables of the environment
	maxStrings = 512 << 10
)

// Job is a job file. Memory is in MiB, in spite of the field's name.
type Job struct {
	Version        string            `json:"version"`
	ModuleHash     string            `json:"module_hash"` // sha256:<64 lower-case hex>
	CPUCores       int               `json:"cpu_cores"`
	MemoryMB       int               `json:"memory_mb"`
	TimeoutSeconds int               `json:"timeout_seconds"`
	OutputBytes    *int64            `json:"output_bytes,omitempty"` // stdout and stderr together
	Args           []string          `json:"args,omitempty"`         // without the program's name
	Env            map[string]string `json:"env,omitempty"`
	StdinHash      string            `json:"stdin_hash,omitempty"` // sha256:…; without it any input does
}

// Default returns the job that runs a module with the default limits.
func Default(module []byte) Job {
	return Job{
		Version: Version, ModuleHash: Hash(module),
		CPUCores: DefaultCPUCores, MemoryMB: DefaultMemoryMB, TimeoutSeconds: DefaultTimeoutSeconds,
	}
}

// Spec is a checked job together with the exact bytes that asked for it. Only
// Parse and New make one.
type Spec struct {
	job  Job
	file []byte
	args strictjson.Raw
	env  strictjson.Raw
}

// FieldError says which field of a job file is wrong, and what it may be.
type FieldError struct{ Field, Problem string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Parse reads a job file of at most 1 MiB. Unknown fields, missing fields and
// values out of range are refused with the field's name.
func Parse(file []byte) (Spec, error) {
	s := Spec{file: slices.Clone(file)}
	if err := s.read(file); err != nil {
		return Spec{}, fmt.Errorf("reading the job file: %w", err)
	}
	return s, nil
}

func (s *Spec) read(file []byte) error {
	var w struct {
		Job
		// The texts as they stand, because a receipt carries their digests.
		Args strictjson.Raw `json:"args"`
		Env  strictjson.Raw `json:"env"`
	}
	if err := strictjson.Unmarshal(file, &w, strictjson.RejectUnknown, strictjson.Limit(maxFile)); err != nil {
		var wrong *strictjson.Mismatch
		if errors.As(err, &wrong) && mosts[wrong.Field] != 0 {
			return fmt.Errorf("%w; 1 to %d is allowed", err, mosts[wrong.Field])
		}
		return err
	}
	given, err := fields(file)
	if err != nil {
		return err
	}
	s.job = w.Job
	for _, n := range []struct {
		field string
		value int64
	}{
		{"cpu_cores", int64(s.job.CPUCores)},
		{"memory_mb", int64(s.job.MemoryMB)},
		{"timeout_seconds", int64(s.job.TimeoutSeconds)},
		{"output_bytes", s.OutputBytes()}, // which need not be there
	} {
		switch most := mosts[n.field]; {
		case given[n.field] == nil && n.field != "output_bytes":
			return &FieldError{n.field, "is missing"}
		case n.value < 1 || n.value > most:
			return &FieldError{n.field, fmt.Sprintf("%d is out of range, 1 to %d is allowed", n.value, most)}
		}
	}
	switch {
	case given["version"] == nil:
		return &FieldError{"version", "is missing"}
	case s.job.Version != Version:
		return &FieldError{"version", fmt.Sprintf("%.16q is not known, %q is", s.job.Version, Version)}
	case given["module_hash"] == nil:
		return &FieldError{"module_hash", "is missing"}
	}
	if err := checkHash("module_hash", s.job.ModuleHash); err != nil {
		return err
	}
	if given["stdin_hash"] != nil {
		if err := checkHash("stdin_hash", s.job.StdinHash); err != nil {
			return err
		}
	}
	s.args, s.env = slices.Clone(w.Args), slices.Clone(w.Env)
	return s.readStrings()
}

// fields returns the fields that are given. One that is null is refused: it is
// neither given nor left out.
func fields(file []byte) (given map[string]strictjson.Raw, err error) {
	if err := strictjson.Unmarshal(file, &given, strictjson.Limit(maxFile)); err != nil {
		return nil, err
	}
	if given == nil {
		return nil, errors.New("it is null, not an object")
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if string(given[name]) == "null" {
			return nil, &FieldError{name, "is null; leave it out instead"}
		}
	}
	return given, nil
}

func (s *Spec) readStrings() error {
	// Pointers, for null reads as an empty text.
	var args []*string
	var env map[string]*string
	for _, part := range []struct {
		field, wants string
		text         strictjson.Raw
		kind         byte
		into         any
	}{
		{"args", "a list of strings", s.args, '[', &args},
		{"env", "an object of strings", s.env, '{', &env},
	} {
		if part.text == nil {
			continue
		}
		if part.text[0] != part.kind {
			return &FieldError{part.field, "must be " + part.wants}
		}
		if err := strictjson.Unmarshal(part.text, part.into); err != nil {
			return &FieldError{part.field, "must be " + part.wants + ": " + err.Error()}
		}
	}
	for i, arg := range args {
		if arg == nil {
			return &FieldError{"args", fmt.Sprintf("must be a list of strings: argument %d is null", i+1)}
		}
		s.job.Args = append(s.job.Args, *arg)
	}
	if env != nil {
		s.job.Env = make(map[string]string, len(env))
	}
	for name, value := range env {
		if value == nil {
			return &FieldError{"env", fmt.Sprintf("must be an object of strings: %.64q is null", name)}
		}
		s.job.Env[name] = *value
	}
	return CheckStrings(s.job.Args, s.job.Env)
}

// CheckStrings refuses arguments and variables that no program could be given:
// NUL bytes, names that are empty or hold "=", more than 4096 of either, more
// than 512 KiB together; and those that a job file cannot hold, not being UTF-8.
func CheckStrings(args []string, env map[string]string) error {
	total := 0
	for i, a := range args {
		if strings.ContainsRune(a, 0) {
			return &FieldError{"args", fmt.Sprintf("argument %d holds a NUL byte", i+1)}
		}
		if !utf8.ValidString(a) {
			return &FieldError{"args", fmt.Sprintf("argument %d is not UTF-8; other bytes go by standard input", i+1)}
		}
		total += len(a) + 1
	}
	for name, value := range env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return &FieldError{"env", fmt.Sprintf("%.64q is no NAME=VALUE: a name is not empty and holds no \"=\", neither holds a NUL byte", name+"="+value)}
		}
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return &FieldError{"env", fmt.Sprintf("%.64q is not UTF-8; other bytes go by standard input", name+"="+value)}
		}
		total += len(name) + len(value) + 2
	}
	switch {
	case len(args) > maxArgs:
		return &FieldError{"args", fmt.Sprintf("%d arguments, at most %d are allowed", len(args), maxArgs)}
	case len(env) > maxArgs:
		return &FieldError{"env", fmt.Sprintf("%d variables, at most %d are allowed", len(env), maxArgs)}
	case total > maxStrings:
		return &FieldError{"args", fmt.Sprintf("arguments and environment are %d bytes, at most %d are allowed", total, maxStrings)}
	}
	return nil
}

// checkHash accepts nothing but "sha256:" and 64 lower-case hex digits.
func checkHash(field, text string) error {
	digits, ok := strings.CutPrefix(text, "sha256:")
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != sha256.Size || digits != strings.ToLower(digits) {
		return &FieldError{field, fmt.Sprintf("%.80q is no digest, which is sha256: and 64 lower-case hex digits", text)}
	}
	return nil
}

// New writes the job file of j and checks it like any other.
func New(j Job) (Spec, error) {
	if err := CheckStrings(j.Args, j.Env); err != nil {
		return Spec{}, fmt.Errorf("writing the job file: %w", err)
	}
	file, err := strictjson.Marshal(j)
	if err != nil {
		return Spec{}, fmt.Errorf("writing the job file: %w", err)
	}
	return Parse(file)
}

// Hash returns the digest of data as job files write it, "sha256:<hex>".
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ID returns the job_id: the digest of the job file's bytes.
func (s Spec) ID() string { return Hash(s.file) }

// File returns the bytes the job was read from.
func (s Spec) File() []byte { return slices.Clone(s.file) }

// Job returns what was asked.
func (s Spec) Job() Job { return s.job }

// ArgsSHA256 is the hex digest of the JSON text of args as it stands in the
// file, of "[]" when it is absent.
func (s Spec) ArgsSHA256() string { return textSum(s.args, "[]") }

// EnvSHA256 is the same for env, of "{}" when absent.
func (s Spec) EnvSHA256() string { return textSum(s.env, "{}") }

func textSum(text strictjson.Raw, absent string) string {
	if text == nil {
		text = strictjson.Raw(absent)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Timeout returns how long the job may take, from the start of its worker.
func (s Spec) Timeout() time.Duration { return time.Duration(s.job.TimeoutSeconds) * time.Second }

// OutputBytes returns the most the job may write, stdout and stderr together.
func (s Spec) OutputBytes() int64 {
	if s.job.OutputBytes == nil {
		return DefaultOutputBytes
	}
	return *s.job.OutputBytes
}

// Errors of AcceptHash.
var (
	ErrModule = errors.New("the module is not the one the job names")
	ErrStdin  = errors.New("the input is not the one the job names")
)

// AcceptHash compares the digest of the module, as Hash writes it, and the input
// that came with the job with the digests the job names.
func (s Spec) AcceptHash(module string, stdin []byte) error {
	if module != s.job.ModuleHash {
		return fmt.Errorf("%w: module_hash is %s, the module's is %s", ErrModule, s.job.ModuleHash, module)
	}
	if s.job.StdinHash == "" {
		return nil
	}
	if got := Hash(stdin); got != s.job.StdinHash {
		return fmt.Errorf("%w: stdin_hash is %s, the input's is %s", ErrStdin, s.job.StdinHash, got)
	}
	return nil
}
