// Package strictjson decodes JSON from untrusted sources. Two programs that read
// the same bytes must see the same document, or a signature over those bytes
// means two things; so all that two decoders could disagree about is refused: duplicate names, names that differ only in case, invalid UTF-8,
// trailing bytes, numbers no double holds exactly, and documents deeper or
// longer than any of ours. It is the only package that knows the JSON library.
package strictjson

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxBytes is the largest document Unmarshal reads unless Limit says
	// otherwise: 1 MiB, the cap of an envelope.
	MaxBytes = 1 << 20
	// MaxInteger is the largest integer accepted, 2^53-1: the last one that
	// every JSON reader holds exactly.
	MaxInteger = 1<<53 - 1
	// MaxDepth bounds how deep objects and arrays nest.
	MaxDepth = 64
)

// ErrSize says that a document is longer than its cap; it was not parsed.
var ErrSize = errors.New("the document is too large")

// Raw is one JSON value kept as text, for a field whose shape another package
// owns.
type Raw = jsontext.Value

// Option changes how Unmarshal reads.
type Option func(*settings)

type settings struct {
	limit         int
	rejectUnknown bool
}

// RejectUnknown makes a name that no field has an error: for configuration and
// job files, where an ignored option would be a silent one.
func RejectUnknown(s *settings) { s.rejectUnknown = true }

// Limit caps the document at n bytes instead of MaxBytes.
func Limit(n int) Option { return func(s *settings) { s.limit = n } }

// Unmarshal decodes data, one JSON value and nothing after it, into v, a
// pointer. Unless RejectUnknown is given, names that v has no field for are
// ignored, but one that differs from a field only in case is refused: another
// decoder would take it for the field. A document over the cap is ErrSize.
func Unmarshal(data []byte, v any, opts ...Option) error {
	set := settings{limit: MaxBytes}
	for _, opt := range opts {
		opt(&set)
	}
	if len(data) > set.limit {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrSize, len(data), set.limit)
	}
	if err := scan(data); err != nil {
		return err
	}
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("decoding JSON into %T: not a pointer", v)
	}
	exact := reflect.New(target.Type().Elem())
	if err := json.Unmarshal(data, exact.Interface(), json.RejectUnknownMembers(set.rejectUnknown)); err != nil {
		return clean(err)
	}
	if !set.rejectUnknown {
		loose := reflect.New(target.Type().Elem())
		err := json.Unmarshal(data, loose.Interface(), json.MatchCaseInsensitiveNames(true))
		if err != nil || !reflect.DeepEqual(exact.Interface(), loose.Interface()) {
			return errors.New("a name differs from a known one only in case")
		}
	}
	target.Elem().Set(exact.Elem())
	return nil
}

// scan reads every token once, for the rules the decoder itself does not have.
func scan(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	var names []map[string]bool // one a level; nil for an array
	for {
		token, err := dec.ReadToken()
		if err == io.EOF {
			if dec.InputOffset() == 0 {
				return errors.New("the document is empty")
			}
			return nil
		}
		if err != nil {
			return clean(err)
		}
		depth := dec.StackDepth()
		if depth > MaxDepth {
			return fmt.Errorf("nested more than %d deep", MaxDepth)
		}
		switch token.Kind() {
		case '{':
			names = append(names, map[string]bool{})
		case '[':
			names = append(names, nil)
		case '}', ']':
			names = names[:len(names)-1]
		case '"':
			// Within an object StackIndex counts names and values, so an odd
			// count after reading means the token was a name.
			if kind, n := dec.StackIndex(depth); kind == '{' && n%2 == 1 {
				name := fold(token.String())
				if names[len(names)-1][name] {
					return fmt.Errorf("the name %.64q comes twice in one object", token.String())
				}
				names[len(names)-1][name] = true
			}
		case '0':
			if f, err := strconv.ParseFloat(token.String(), 64); err != nil || math.Abs(f) > MaxInteger {
				return fmt.Errorf("the number %.32s is not below 2^53", token.String())
			}
		}
	}
}

// fold maps names that differ only in case to one string. Upper before lower,
// because some letters (ſ, K) meet their ASCII kin only on one of the two ways.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// Marshal encodes v with map keys in order, so that the same value gives the
// same bytes.
func Marshal(v any) ([]byte, error) { return json.Marshal(v, json.Deterministic(true)) }

// MarshalIndent is Marshal for files that people read: two spaces a level and
// a final newline.
func MarshalIndent(v any) ([]byte, error) {
	data, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// Base64 decodes standard or URL-safe base64, padded, with no line breaks, no
// stray bits and not both alphabets in one text (RFC 4648 §3.5, §12).
func Base64(text string) ([]byte, error) {
	// The library skips line breaks wherever they stand.
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("base64 holds a line break")
	}
	encoding := base64.StdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.URLEncoding
	}
	data, err := encoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("decoding base64: %w", err)
	}
	return data, nil
}
