package job

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

const zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

const good = `{"version":"1.0","module_hash":"` + zeros + `","cpu_cores":1,"memory_mb":64,"timeout_seconds":5}`

func with(field string) string { return strings.TrimSuffix(good, "}") + "," + field + "}" }

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, file, problem string }{
		{"least", good, ""},
		{"all", with(`"output_bytes":10,"args":["a","b"],"env":{"K":"V"},"stdin_hash":"` + zeros + `"`), ""},
		{"spaces", " " + good + "\n", ""},
		{"largest", strings.NewReplacer(`cores":1`, `cores":64`, `:64`, `:4096`, `:5`, `:3600`).Replace(good), ""},
		{"unknown field", with(`"memory":1`), `: the name "memory" is not known`},
		{"twice", with(`"cpu_cores":2`), "cpu_cores"},
		{"case variant", with(`"CPU_cores":2`), ""},
		{"trailing", good + "{}", "after"},
		{"no cores", strings.Replace(good, `"cpu_cores":1,`, "", 1), "cpu_cores: is missing"},
		{"no version", strings.Replace(good, `"version":"1.0",`, "", 1), "version: is missing"},
		{"version", strings.Replace(good, `"1.0"`, `"2.0"`, 1), `version: "2.0"`},
		{"no module", strings.Replace(good, `"module_hash":"`+zeros+`",`, "", 1), "module_hash: is missing"},
		{"bare hex", strings.Replace(good, "sha256:", "", 1), "module_hash"},
		{"short hex", strings.Replace(good, "sha256:00", "sha256:", 1), "module_hash"},
		{"upper hex", strings.Replace(good, "sha256:00", "sha256:AA", 1), "module_hash"},
		{"no memory at all", strings.Replace(good, "64,", "0,", 1), "memory_mb: 0 is out of range, 1 to 4096"},
		{"too much memory", strings.Replace(good, `:64,`, ":4097,", 1), "memory_mb: 4097"},
		{"negative", strings.Replace(good, "64,", "-1,", 1), "memory_mb: -1"},
		{"fraction", strings.Replace(good, "64,", "64.5,", 1), "memory_mb: is 64.5, not a whole number; 1 to 4096 is allowed"},
		{"text for a number", strings.Replace(good, "64,", `"64",`, 1), "memory_mb: is a text, not a whole number; 1 to 4096 is allowed"},
		{"number for a text", strings.Replace(good, `"1.0"`, "1.0", 1), "version: is a number, not a text"},
		{"too large a number", strings.Replace(good, "64,", "9007199254740992,", 1), "2^53"},
		{"timeout", strings.Replace(good, ":5}", ":3601}", 1), "timeout_seconds: 3601"},
		{"cores", strings.Replace(good, `cores":1`, `cores":65`, 1), "cpu_cores: 65"},
		{"output", with(`"output_bytes":1073741825`), "output_bytes"},
		{"null", with(`"output_bytes":null`), "output_bytes: is null"},
		{"null itself", "null", "null"},
		{"args of numbers", with(`"args":[1]`), "args: must be a list"},
		{"args of null", with(`"args":["a",null]`), "args: must be a list of strings: argument 2 is null"},
		{"env of null", with(`"env":{"A":null}`), `env: must be an object of strings: "A" is null`},
		{"args an object", with(`"args":{}`), "args: must be a list"},
		{"env a list", with(`"env":[]`), "env: must be an object"},
		{"NUL", with(`"args":["a\u0000"]`), "args: argument 1 holds a NUL"},
		{"env name", with(`"env":{"A=B":"c"}`), "env:"},
		{"empty env name", with(`"env":{"":"c"}`), "env:"},
		{"stdin", with(`"stdin_hash":"sha256:"`), "stdin_hash"},
		{"empty", "", "empty"},
		{"too many", with(`"args":[` + strings.Repeat(`"",`, maxArgs) + `""]`), "args: 4097"},
		{"too long", with(`"args":["` + strings.Repeat("a", maxStrings) + `"]`), "args:"},
		{"too large", with(`"args":["` + strings.Repeat("a", maxFile) + `"]`), "too large"},
	} {
		if c.name == "case variant" {
			c.problem = "CPU_cores"
		}
		_, err := Parse([]byte(c.file))
		if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: Parse: %v, want %q", c.name, err, c.problem)
		}
	}
}

func TestDigestsAreOfTheTextAsItStands(t *testing.T) {
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	for _, c := range []struct{ file, args, env string }{
		{good, "[]", "{}"},
		{with(`"args":[ "a" ,"\u0062"],"env": {"K" :"V"}`), `[ "a" ,"\u0062"]`, `{"K" :"V"}`},
		{with(`"args":[]`), "[]", "{}"},
	} {
		s, err := Parse([]byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		if s.ID() != "sha256:"+sum(c.file) || s.ArgsSHA256() != sum(c.args) || s.EnvSHA256() != sum(c.env) {
			t.Errorf("%s: digests are not those of its text", c.file)
		}
		if string(s.File()) != c.file {
			t.Errorf("File() = %q", s.File())
		}
	}
}

func TestNewAndAccept(t *testing.T) {
	module, stdin := []byte("module"), []byte("in")
	j := Default(module)
	j.Args, j.StdinHash = []string{"x"}, Hash(stdin)
	s, err := New(j)
	if err != nil {
		t.Fatal(err)
	}
	if s.OutputBytes() != DefaultOutputBytes || s.Timeout().Seconds() != 60 || s.Job().Args[0] != "x" {
		t.Errorf("New(%+v) = %+v", j, s.Job())
	}
	if err := s.AcceptHash(Hash(module), stdin); err != nil {
		t.Error(err)
	}
	if err := s.AcceptHash(Hash([]byte("other")), stdin); !errors.Is(err, ErrModule) {
		t.Errorf("another module: %v", err)
	}
	if err := s.AcceptHash(Hash(module), nil); !errors.Is(err, ErrStdin) {
		t.Errorf("another input: %v", err)
	}
	j.MemoryMB = 5000
	var field *FieldError
	if _, err := New(j); !errors.As(err, &field) || field.Field != "memory_mb" {
		t.Errorf("New with 5000 MiB: %v", err)
	}
	for name, bytes := range map[string]Job{
		"args": {Args: []string{"a", "\xff"}}, "env": {Env: map[string]string{"A": "\xff"}},
	} {
		if _, err := New(bytes); !errors.As(err, &field) || field.Field != name || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("New with %s that are no text: %v", name, err)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for o, want := range map[Outcome]uint32{Exited: 7, Trapped: 134, Timeout: 124, Memory: 137, Output: 141, Cancelled: 130} {
		if got := o.ExitCode(7); got != want || !o.Known() {
			t.Errorf("%s: exit code %d, known %v", o, got, o.Known())
		}
	}
	if Outcome("done").Known() {
		t.Error("an outcome nobody defined is known")
	}
}

// FuzzParse: what Parse accepts is within every range, and reads the same again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(with(`"output_bytes":10,"args":["a"],"env":{"K":"V"},"stdin_hash":"` + zeros + `"`)))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := Parse(file)
		if err != nil {
			return
		}
		j := s.Job()
		if j.MemoryMB < 1 || j.MemoryMB > MaxMemoryMB || j.CPUCores < 1 || j.CPUCores > MaxCPUCores ||
			j.TimeoutSeconds < 1 || j.TimeoutSeconds > MaxTimeoutSeconds || s.OutputBytes() < 1 || s.OutputBytes() > MaxOutputBytes {
			t.Fatalf("out of range: %+v", j)
		}
		if s.ID() != Hash(file) {
			t.Fatal("the name is not the digest of the bytes")
		}
		again, err := Parse(s.File())
		if err != nil || again.ArgsSHA256() != s.ArgsSHA256() || again.EnvSHA256() != s.EnvSHA256() {
			t.Fatalf("reads differently again: %v", err)
		}
	})
}
