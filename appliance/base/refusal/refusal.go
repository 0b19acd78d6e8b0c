// Package refusal holds the reasons why something from outside is not accepted,
// each a code for programs and a sentence for people.
package refusal

import (
	"errors"
	"fmt"
	"strings"
)

// Code says why something was refused, in one word. The list is shared by
// verify --json, /status, the console and every program.
type Code string

// The whole list.
const (
	Format       Code = "format"        // not the document it should be
	Size         Code = "size"          // longer or shorter than may be
	Signature    Code = "signature"     // no key that counts has signed
	Threshold    Code = "threshold"     // too few keys that count have signed
	Expired      Code = "expired"       // past its expiry, or the root is
	Channel      Code = "channel"       // another channel than asked for
	Arch         Code = "arch"          // another arch than asked for
	Rollback     Code = "rollback"      // older than the floor
	Equivocation Code = "equivocation"  // the floor's version, another payload
	Digest       Code = "digest"        // not the bytes that were signed
	Unreachable  Code = "unreachable"   // no answer, or not a whole one
	Slow         Code = "slow"          // below the rate worth waiting for
	FailedBefore Code = "failed_before" // tried here and did not come up
	Busy         Code = "busy"          // no room, or another one is at work
)

// Codes lists every Code.
var Codes = []Code{Format, Size, Signature, Threshold, Expired, Channel, Arch, Rollback, Equivocation,
	Digest, Unreachable, Slow, FailedBefore, Busy}

// Refusal is the error for what was not accepted.
type Refusal struct {
	Code Code
	// Detail is for people: one line of printable text, bounded, whatever the
	// refused document held.
	Detail string
}

const maxDetail = 400

// New makes a Refusal; format and args are those of fmt.Sprintf.
func New(code Code, format string, args ...any) *Refusal {
	detail := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(fmt.Sprintf(format, args...), "?"))
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return &Refusal{Code: code, Detail: detail}
}

// Error returns the detail followed by the code in parentheses.
func (r *Refusal) Error() string { return fmt.Sprintf("%s (%s)", r.Detail, r.Code) }

// CodeOf is the code of the Refusal within err, "" when there is none.
func CodeOf(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}
