package supervise

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var pause time.Duration
	var got []string
	for range 9 {
		pause = backoff(pause, time.Second)
		got = append(got, pause.String())
	}
	if s := strings.Join(got, " "); s != "500ms 1s 2s 4s 8s 16s 30s 30s 30s" {
		t.Errorf("pauses %s", s)
	}
	if p := backoff(pause, 2*steady); p != backoffFirst {
		t.Errorf("after a long run %s", p)
	}
}

// TestLastLines: the last lines are held, the oldest goes first, and what Lines
// returned does not change.
func TestLastLines(t *testing.T) {
	set := &Set{Line: func(string, string) {}}
	r := &running{service: Service{Name: "talker"}}
	set.services = []*running{r}
	for i := range maxLines + 10 {
		set.say(r, strconv.Itoa(i))
	}
	lines, err := set.Lines("talker")
	if err != nil || len(lines) != maxLines || lines[0] != "10" || lines[maxLines-1] != strconv.Itoa(maxLines+9) {
		t.Fatalf("%d lines from %s to %s, %v", len(lines), lines[0], lines[len(lines)-1], err)
	}
	before := slices.Clone(lines)
	set.say(r, "one more")
	if !slices.Equal(lines, before) {
		t.Error("the lines changed in the caller's hands")
	}
}

func TestEachLine(t *testing.T) {
	for _, c := range []struct {
		text string
		want []int // lengths
	}{
		{"", nil}, {"\n\n", nil}, {"one\ntwo", []int{3, 3}}, {"one\n\nthree\n", []int{3, 5}},
		{strings.Repeat("x", maxLine) + "\nend", []int{maxLine, 3}},
		{strings.Repeat("x", maxLine+1) + "\n", []int{maxLine, 1}},
		{strings.Repeat("x", 3*maxLine) + "\n\nend", []int{maxLine, maxLine, maxLine, 3}},
	} {
		var got []int
		eachLine(strings.NewReader(c.text), func(line string) { got = append(got, len(line)) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%.10q… of %d bytes has lines of %d bytes, want %d", c.text, len(c.text), got, c.want)
		}
	}
}

// FuzzParseStat states: what /proc says never panics, and a name full of
// parentheses does not pass as a state.
func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) Z 1) S 4 5"))
	f.Fuzz(func(t *testing.T, data []byte) {
		state, _, ok := parseStat(data)
		if ok && strings.Contains(state, ")") {
			t.Errorf("%q has state %q", data, state)
		}
	})
}
