package strictjson

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Mismatch is the error of a value that is not of the kind its place has, or of
// a name that is not known there. Field is the path to it, with dots; "" is the
// document itself.
type Mismatch struct{ Field, Problem string }

func (m *Mismatch) Error() string {
	if m.Field == "" {
		return m.Problem
	}
	return m.Field + ": " + m.Problem
}

// clean rewrites an error of the library without the library's name and without
// names of Go's types.
func clean(err error) error {
	var wrong *json.SemanticError
	if errors.As(err, &wrong) {
		return mismatch(wrong)
	}
	text := err.Error()
	for _, prefix := range []string{"jsontext: ", "json: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return errors.New(text)
}

func mismatch(wrong *json.SemanticError) *Mismatch {
	var path []string
	for token := range wrong.JSONPointer.Tokens() {
		path = append(path, token)
	}
	if errors.Is(wrong, json.ErrUnknownName) && len(path) > 0 {
		last := len(path) - 1
		return &Mismatch{strings.Join(path[:last], "."), fmt.Sprintf("the name %.64q is not known", path[last])}
	}
	problem := "is " + found(wrong)
	if errors.Is(wrong, strconv.ErrRange) {
		problem += ", which is out of range"
	} else if wants := kind(wrong.GoType); wants != "" {
		problem += ", not " + wants
	}
	if wrong.Err != nil && wrong.JSONKind == '"' {
		problem += ": " + wrong.Err.Error()
	}
	field := "the document"
	if len(path) > 0 {
		field = strings.Join(path, ".")
	}
	return &Mismatch{field, problem}
}

// found says what the document has.
func found(wrong *json.SemanticError) string {
	if wrong.JSONKind == jsontext.KindNumber && wrong.JSONValue != nil {
		return fmt.Sprintf("%.40s", wrong.JSONValue)
	}
	switch wrong.JSONKind {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "a list"
	case jsontext.KindString:
		return "a text"
	case jsontext.KindNumber:
		return "a number"
	}
	return wrong.JSONKind.String() // null, true, false
}

// kind says what a Go type reads, "" where there is no short word for it.
func kind(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil:
		return ""
	case t == reflect.TypeFor[time.Time]():
		return "a time as in RFC 3339"
	case t == reflect.TypeFor[[]byte]():
		return "a text in base64"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return ""
}
