package refusal

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestRefusal(t *testing.T) {
	r := New(Channel, "it said %s", "a\x1b[2Jb\n\u0085\u2028\xff"+strings.Repeat("é", 1000))
	if strings.ContainsAny(r.Detail, "\x1b\n\u0085\u2028") || len(r.Detail) > 410 || !strings.HasPrefix(r.Detail, "it said a?[2Jb???") {
		t.Errorf("detail %q", r.Detail)
	}
	if err := fmt.Errorf("asking: %w", r); CodeOf(err) != Channel || !strings.Contains(err.Error(), "(channel)") {
		t.Errorf("the code is lost in %v", err)
	}
	if CodeOf(errors.New("no")) != "" || CodeOf(nil) != "" {
		t.Error("a code where there is none")
	}
	if len(Codes) != 14 {
		t.Errorf("%d codes", len(Codes))
	}
}
