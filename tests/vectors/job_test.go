package vectors

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
)

// jobCase is one line of job/cases.json.
type jobCase struct {
	File       string `json:"file"`
	PadTo      int    `json:"pad_to"`
	Code       string `json:"code"`
	Field      string `json:"field"` // with code field: the first that is wrong
	JobID      string `json:"job_id"`
	ArgsSHA256 string `json:"args_sha256"`
	EnvSHA256  string `json:"env_sha256"`
	Why        string `json:"why"`
}

const (
	someHash  = "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"
	otherHash = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	leastJob  = `{"version":"1.0","module_hash":"` + someHash + `","cpu_cores":1,"memory_mb":64,"timeout_seconds":5}`
)

// and adds fields to the least job.
func and(fields string) string { return strings.TrimSuffix(leastJob, "}") + "," + fields + "}" }

// but replaces a part of the least job.
func but(old, new string) string {
	if !strings.Contains(leastJob, old) {
		panic("the least job does not hold " + old)
	}
	return strings.Replace(leastJob, old, new, 1)
}

func repeat(n int, item string) string {
	return strings.TrimSuffix(strings.Repeat(item+",", n), ",")
}

// variables is n variables, each with a name of its own.
func variables(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"V%d":""`, i)
	}
	return strings.Join(list, ",")
}

type jobVector struct {
	name, file, code, field, why string
	padTo                        int
}

func validJobs() []jobVector {
	var list []jobVector
	ok := func(name, file, why string) {
		list = append(list, jobVector{name: name, file: file, why: why})
	}
	ok("good", leastJob, "only what must be there")
	ok("good-all", and(`"output_bytes":1048576,"args":["a","b"],"env":{"K":"V"},"stdin_hash":"`+otherHash+`"`), "every field")
	ok("good-spaces", " {\n\t\"version\" : \"1.0\",\r\n"+strings.TrimPrefix(leastJob, `{"version":"1.0",`)+"\n", "white space between tokens changes the job_id and nothing else")
	ok("good-order", `{"timeout_seconds":5,"memory_mb":64,"cpu_cores":1,"module_hash":"`+someHash+`","version":"1.0"}`, "fields have no order")
	ok("good-largest", `{"version":"1.0","module_hash":"`+someHash+`","cpu_cores":64,"memory_mb":4096,"timeout_seconds":3600,"output_bytes":1073741824}`, "the top of every range")
	ok("good-smallest", `{"version":"1.0","module_hash":"`+someHash+`","cpu_cores":1,"memory_mb":1,"timeout_seconds":1,"output_bytes":1}`, "the bottom of every range")
	ok("good-no-args", and(`"args":[]`), "an empty list has the same digest as none")
	ok("good-no-env", and(`"env":{}`), "an empty object has the same digest as none")
	ok("good-args-spaces", and(`"args":[ "a" ,"b" ]`), "the digest is that of the text as it stands, spaces included")
	ok("good-args-escapes", and(`"args":["\u0061\/"]`), "… and escapes as they stand")
	ok("good-env-spaces", and(`"env": { "K" : "V" }`), "the digest is that of the text as it stands")
	ok("good-args-empty", and(`"args":["",""]`), "an argument may be empty")
	ok("good-args-unicode", and(`"args":["Grüße, 世界","😀","\ud83d\ude00"]`), "text beyond ASCII, written out and escaped")
	ok("good-args-control", and(`"args":["\u0001\n\t\u007f"]`), "control characters other than NUL")
	ok("good-args-many", and(`"args":[`+repeat(4096, `""`)+`]`), "4096 arguments")
	ok("good-env-empty-value", and(`"env":{"K":""}`), "a value may be empty")
	ok("good-env-equals", and(`"env":{"K":"a=b"}`), "a value may hold =")
	ok("good-env-many", and(`"env":{`+variables(4096)+`}`), "4096 variables")
	ok("good-env-number-name", and(`"env":{"0":"zero","1":"one"}`), "names that look like numbers are names")
	ok("good-stdin", and(`"stdin_hash":"`+someHash+`"`), "an input")
	list = append(list, jobVector{name: "good-size", file: leastJob, padTo: 1 << 20, why: "exactly 1 MiB"})
	return list
}

func damagedJobs() []jobVector {
	var list []jobVector
	format := func(name, file, why string) {
		list = append(list, jobVector{name: "format-" + name, file: file, code: "format", why: why})
	}
	format("empty", "", "nothing")
	format("text", "a job", "not JSON")
	format("null", "null", "null is no object")
	format("array", "["+leastJob+"]", "a list is no object")
	format("cut", leastJob[:len(leastJob)-1], "ends too early")
	format("trailing", leastJob+"{}", "something after the end")
	format("bom", "\ufeff"+leastJob, "a byte order mark")
	format("comment", leastJob+" // why", "JSON has no comments")
	format("comma", strings.TrimSuffix(leastJob, "}")+",}", "a comma before the end")
	format("unknown", and(`"priority":1`), "a field nobody knows: it would be a silent option")
	format("case", but(`"memory_mb"`, `"Memory_MB"`), "names are case-sensitive")
	format("duplicate", and(`"memory_mb":4096`), "a name twice: two readers would run two jobs")
	format("duplicate-escaped", and(`"memory\u005fmb":4096`), "a name twice, once escaped")
	format("duplicate-case", and(`"MEMORY_MB":4096`), "a name twice, but for case")
	format("duplicate-env", and(`"env":{"A":"1","A":"2"}`), "a variable twice")
	format("duplicate-env-case", and(`"env":{"a":"1","A":"2"}`), "a variable twice, but for case")
	format("duplicate-env-kelvin", and(`"env":{"k":"1","K":"2"}`), "… where the other case is not ASCII")
	format("utf8", and(`"args":["`+"\xff"+`"]`), "invalid UTF-8")
	format("utf8-overlong", and(`"args":["`+"\xc0\xaf"+`"]`), "overlong UTF-8")
	format("utf8-surrogate", and(`"args":["`+"\xed\xa0\x80"+`"]`), "a surrogate in UTF-8")
	format("surrogate", and(`"args":["\ud800"]`), "half a surrogate pair")
	format("control", and("\"args\":[\"a\nb\"]"), "a bare line feed within a string")
	format("number-big", but(":64", ":9007199254740993"), "over 2^53: a double would round it")
	format("number-fraction", but(":64", ":64.0"), "an integer is written as one")
	format("number-exponent", but(":64", ":64e0"), "an integer is written as one")
	format("number-zero", but(":64", ":064"), "a leading zero")
	format("number-plus", but(":64", ":+64"), "a plus sign")
	format("number-string", but(":64", `:"64"`), "a string is no number")
	format("number-bool", but(":64", `:true`), "true is no number")
	format("version-number", but(`"1.0"`, `1.0`), "a number is no string")
	format("deep", and(`"args":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)), "nested deeper than 64")

	field := func(field, name, file, why string) {
		list = append(list, jobVector{name: field + "-" + name, file: file, code: "field", field: field, why: why})
	}
	field("version", "missing", but(`"version":"1.0",`, ""), "no version")
	field("version", "other", but(`"1.0"`, `"1.1"`), "a version nobody knows")
	field("module_hash", "missing", but(`"module_hash":"`+someHash+`",`, ""), "no module")
	field("module_hash", "bare", but("sha256:", ""), "bare hex")
	field("module_hash", "short", but("sha256:5e", "sha256:"), "31 bytes")
	field("module_hash", "upper", but("sha256:5e", "sha256:5E"), "upper-case hex")
	field("module_hash", "other", but("sha256:", "sha512:"), "another algorithm")
	field("module_hash", "newline", but(`42d8"`, `42d8\n"`), "a line feed after the digest")
	for _, f := range []struct {
		name, was string
		most      int
	}{{"cpu_cores", ":1", 64}, {"memory_mb", ":64", 4096}, {"timeout_seconds", ":5", 3600}} {
		whole := `"` + f.name + `"` + f.was
		set := func(value string) string { return but(whole, `"`+f.name+`":`+value) }
		comma := whole + ","
		if f.name == "timeout_seconds" {
			comma = "," + whole
		}
		field(f.name, "missing", but(comma, ""), "missing")
		field(f.name, "zero", set("0"), "under the range")
		field(f.name, "negative", set("-1"), "under the range")
		field(f.name, "over", set(fmt.Sprint(f.most+1)), "over the range")
		field(f.name, "null", set("null"), "null is neither given nor left out")
	}
	field("output_bytes", "zero", and(`"output_bytes":0`), "under the range")
	field("output_bytes", "over", and(`"output_bytes":1073741825`), "over the range")
	field("output_bytes", "null", and(`"output_bytes":null`), "null is neither given nor left out")
	field("args", "object", and(`"args":{}`), "an object is no list")
	field("args", "number", and(`"args":[1]`), "a number is no string")
	field("args", "null", and(`"args":null`), "null is neither given nor left out")
	field("args", "null-item", and(`"args":["a",null]`), "null is no string, and not an empty one")
	field("args", "nul", and(`"args":["a\u0000"]`), "no program can be given a NUL byte")
	field("args", "many", and(`"args":[`+repeat(4097, `""`)+`]`), "4097 arguments")
	field("env", "list", and(`"env":[]`), "a list is no object")
	field("env", "number", and(`"env":{"A":1}`), "a number is no string")
	field("env", "null", and(`"env":null`), "null is neither given nor left out")
	field("env", "null-value", and(`"env":{"A":null}`), "null is no string, and not an empty one")
	field("env", "empty-name", and(`"env":{"":"1"}`), "a variable without a name")
	field("env", "equals", and(`"env":{"A=B":"1"}`), "a name that holds =")
	field("env", "nul", and(`"env":{"A":"\u0000"}`), "no program can be given a NUL byte")
	field("env", "many", and(`"env":{`+variables(4097)+`}`), "4097 variables")
	field("stdin_hash", "bare", and(`"stdin_hash":"`+strings.TrimPrefix(someHash, "sha256:")+`"`), "bare hex")
	field("stdin_hash", "empty", and(`"stdin_hash":""`), "no digest")
	field("stdin_hash", "null", and(`"stdin_hash":null`), "null is neither given nor left out")
	list = append(list, jobVector{name: "size", file: leastJob, padTo: 1<<20 + 1, code: "size", why: "one byte over 1 MiB"})
	return list
}

func TestMakeJobs(t *testing.T) {
	f := &folder{t: t, name: "job", files: map[string][]byte{}}
	var cases []jobCase
	for _, v := range append(validJobs(), damagedJobs()...) {
		file := strings.ReplaceAll(v.name, "_", "-") + ".json"
		f.add(file, []byte(v.file))
		c := jobCase{File: file, PadTo: v.padTo, Code: v.code, Field: v.field, Why: v.why}
		if v.code == "" {
			spec, err := job.Parse(pad([]byte(v.file), v.padTo))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			c.JobID, c.ArgsSHA256, c.EnvSHA256 = spec.ID(), spec.ArgsSHA256(), spec.EnvSHA256()
		}
		cases = append(cases, c)
	}
	f.settle(cases)
}

// jobCode is the reason of an error of jobspec.Parse.
func jobCode(err error) (code, field string) {
	var wrong *job.FieldError
	switch {
	case err == nil:
		return "", ""
	case errors.Is(err, strictjson.ErrSize):
		return "size", ""
	case errors.As(err, &wrong):
		return "field", wrong.Field
	}
	return "format", ""
}

func TestJobs(t *testing.T) {
	var cases []jobCase
	loadCases(t, "job", &cases)
	var codes []string
	for _, c := range cases {
		codes = append(codes, c.Code)
		t.Run(c.File, func(t *testing.T) {
			data := pad(load(t, "job", c.File), c.PadTo)
			spec, err := job.Parse(data)
			if code, field := jobCode(err); code != c.Code || field != c.Field {
				t.Fatalf("%s: refused as %q %q (%v), want %q %q", c.Why, code, field, err, c.Code, c.Field)
			}
			if err != nil {
				return
			}
			if spec.ID() != c.JobID || spec.ArgsSHA256() != c.ArgsSHA256 || spec.EnvSHA256() != c.EnvSHA256 {
				t.Errorf("digests %s %s %s", spec.ID(), spec.ArgsSHA256(), spec.EnvSHA256())
			}
			if !bytes.Equal(spec.File(), data) {
				t.Error("the job file is not byte for byte what came in")
			}
		})
	}
	count(t, codes)
}
