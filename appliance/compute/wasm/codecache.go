package wasm

import (
	"bytes"
	"errors"
	"io"
	"reflect"

	"github.com/tetratelabs/wazero"
)

// ErrStale is the error of Load for code that was compiled by another version
// or for another processor.
var ErrStale = errors.New("the compiled code is of another version or for another processor")

// codeKey is wazero's name of compiled code. It depends on the module, on the
// version of wazero and on the features of the processor.
type codeKey = [32]byte

// code stands in the place of wazero's cache of files, so that compiled code
// comes from, and goes to, the process that authenticates it. wazero offers no
// other way in than a folder, and believes whatever it finds there
// (docs/decisions/2026-11-29-wazero-field.md).
type code struct {
	known  []byte // key and code, or nil
	made   []byte // key and code, when wazero has compiled
	missed bool   // known was of another key
}

// Get, Add and Delete are wazero's internal/filecache.Cache.
func (c *code) Get(key codeKey) (io.ReadCloser, bool, error) {
	if c.known == nil {
		return nil, false, nil
	}
	if len(c.known) < len(key) || !bytes.Equal(c.known[:len(key)], key[:]) {
		c.missed = true
		return nil, false, ErrStale
	}
	return io.NopCloser(bytes.NewReader(c.known[len(key):])), true, nil
}

// Add is called with the code of what was compiled.
func (c *code) Add(key codeKey, content io.Reader) error {
	made := bytes.NewBuffer(bytes.Clone(key[:]))
	if _, err := made.ReadFrom(content); err != nil {
		return err
	}
	c.made = made.Bytes()
	return nil
}

// Delete is called for code that another version compiled.
func (c *code) Delete(codeKey) error {
	c.missed = true
	return ErrStale
}

// cache makes a cache for wazero of which c is the part that is kept.
func (c *code) cache() (wazero.CompilationCache, error) {
	cache := wazero.NewCompilationCache()
	return cache, c.putInto(cache)
}

// putInto sets a field that wazero has for this purpose and does not export.
// Another version of wazero without that field is an error, not a cache less.
// This is the one place where a field of another package is set.
func (c *code) putInto(cache any) error {
	field := reflect.ValueOf(cache).Elem().FieldByName("fileCache")
	if !field.IsValid() || field.Kind() != reflect.Interface || !reflect.TypeOf(c).Implements(field.Type()) {
		return errors.New("preparing the compiler: this version of wazero keeps compiled code in another way")
	}
	reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(c))
	return nil
}
