package wasm

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// TestFieldOfWazero: the field that is set is of the kind that it is taken for,
// with no method besides, and wazero does with it what it is set for. Another
// version of wazero that changes this makes the test fail.
func TestFieldOfWazero(t *testing.T) {
	field, ok := reflect.TypeOf(wazero.NewCompilationCache()).Elem().FieldByName("fileCache")
	if !ok || field.Type.Kind() != reflect.Interface {
		t.Fatalf("wazero's cache has no such field: %v", field)
	}
	var names []string
	for i := range field.Type.NumMethod() {
		names = append(names, field.Type.Method(i).Name)
	}
	if got := strings.Join(names, " "); got != "Add Delete Get" || !reflect.TypeFor[*code]().Implements(field.Type) {
		t.Errorf("it is %v, with the methods %s", field.Type, got)
	}
	for _, other := range []any{&struct{ files io.Reader }{}, &struct{ fileCache io.Reader }{}, &struct{ fileCache *code }{}, &struct{ fileCache int }{}} {
		if (&code{}).putInto(other) == nil {
			t.Errorf("%T was taken for wazero's cache", other)
		}
	}
}

// TestCodeIsNotCompiledTwice: the code that Compile made is used as it is, or
// refused.
func TestCodeIsNotCompiledTwice(t *testing.T) {
	module := ending("\x41\x07\x10\x00", "\x07\x0a\x01\x06_start\x00\x01")
	compiled, err := Compile(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	known := &code{known: compiled}
	if _, err := prepare(t.Context(), module, 1, known); err != nil || known.made != nil {
		t.Errorf("it was compiled again: %v", err)
	}
	unknown := &code{}
	if _, err := prepare(t.Context(), module, 1, unknown); err != nil || !bytes.Equal(unknown.made, compiled) {
		t.Errorf("%d bytes of code are %d the next time, %v", len(compiled), len(unknown.made), err)
	}
	version := bytes.Clone(compiled)
	version[bytes.Index(version, []byte("WAZEVO"))+len("WAZEVO")+1] ^= 1
	for name, c := range map[string]struct{ module, code []byte }{
		"of another module":     {ending("", "\x07\x0a\x01\x06_start\x00\x01"), compiled},
		"of another version":    {module, version},
		"for another processor": {module, append([]byte{compiled[0] ^ 1}, compiled[1:]...)}, // which is part of the key
		"without a key":         {module, compiled[:31]},
		"empty":                 {module, []byte{}},
	} {
		if _, err := Load(t.Context(), c.module, c.code, 1); !errors.Is(err, ErrStale) {
			t.Errorf("code %s: %v", name, err)
		}
	}
}
