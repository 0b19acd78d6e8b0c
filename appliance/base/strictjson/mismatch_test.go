package strictjson

import (
	"errors"
	"testing"
	"time"
)

// An error speaks of the document, not of Go.
func TestMismatch(t *testing.T) {
	type inner struct {
		N  int32     `json:"n"`
		At time.Time `json:"at"`
	}
	for text, want := range map[string]string{
		`[]`:                      "the document: is a list, not an object",
		`{"s":1}`:                 "s: is a number, not a text",
		`{"s":null}`:              "",
		`{"b":"x"}`:               "b: is a text, not true or false",
		`{"list":{}}`:             "list: is an object, not a list",
		`{"list":[1,"x"]}`:        "list.1: is a text, not a number",
		`{"in":{"n":1.5}}`:        "in.n: is 1.5, not a whole number",
		`{"in":{"n":true}}`:       "in.n: is true, not a whole number",
		`{"in":{"n":4294967296}}`: "in.n: is 4294967296, which is out of range",
		`{"in":{"x":1}}`:          `in: the name "x" is not known`,
		`{"x":1}`:                 `the name "x" is not known`,
	} {
		var v struct {
			S    string    `json:"s"`
			B    bool      `json:"b"`
			List []float64 `json:"list"`
			In   inner     `json:"in"`
		}
		err := Unmarshal([]byte(text), &v, RejectUnknown)
		var wrong *Mismatch
		if want == "" && err == nil {
			continue
		}
		if !errors.As(err, &wrong) || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
