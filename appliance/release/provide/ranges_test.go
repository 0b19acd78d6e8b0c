package provide

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	const size = 1000
	many := "bytes=" + strings.Repeat("0-0,", maxRanges)
	for _, c := range []struct {
		header string
		want   []span
		ok     bool
	}{
		{"bytes=0-0", []span{{0, 0}}, true},
		{"bytes=0-999", []span{{0, 999}}, true},
		{"bytes=0-1000", []span{{0, 999}}, true},
		{"bytes=500-", []span{{500, 999}}, true},
		{"bytes=999-", []span{{999, 999}}, true},
		{"bytes=-1", []span{{999, 999}}, true},
		{"bytes=-1000", []span{{0, 999}}, true},
		{"bytes=-5000", []span{{0, 999}}, true},
		{"bytes=0-99999999999999999999", []span{{0, 999}}, true},
		{"bytes=-99999999999999999999", []span{{0, 999}}, true},
		{"Bytes=0-1", []span{{0, 1}}, true},
		{"bytes=007-008", []span{{7, 8}}, true},
		{"bytes=0-1,5-6", []span{{0, 1}, {5, 6}}, true},
		{"bytes= 0-1 ,\t5-6 ", []span{{0, 1}, {5, 6}}, true},
		{"bytes=,0-1,,", []span{{0, 1}}, true},
		{"bytes=5-6,0-1", []span{{5, 6}, {0, 1}}, true},
		{"bytes=0-10,5-15", []span{{0, 10}, {5, 15}}, true},
		{"bytes=0-10,5-15,12-20", []span{{0, 20}}, true},
		{"bytes=0-1,2000-", []span{{0, 1}}, true},

		// not satisfiable
		{"bytes=1000-", nil, true},
		{"bytes=1000-2000", nil, true},
		{"bytes=-0", nil, true},
		{"bytes=99999999999999999999-", nil, true},
		{"bytes=1000-,-0", nil, true},

		// to be ignored
		{"", nil, false},
		{"bytes", nil, false},
		{"bytes=", nil, false},
		{"bytes=,", nil, false},
		{"bytes=-", nil, false},
		{"bytes=5-2", nil, false},
		{"bytes=0-1,5-2", nil, false},
		{"bytes=a-b", nil, false},
		{"bytes=+1-2", nil, false},
		{"bytes=1 - 2", nil, false},
		{"bytes=0x1-2", nil, false},
		{"bytes=1-2-3", nil, false},
		{"bytes =0-1", nil, false},
		{"items=0-1", nil, false},
		{"none", nil, false},
		{many + "1-1", nil, false},
	} {
		got, ok := parseRange(c.header, size)
		if ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("parseRange(%.60q) = %v, %v; want %v, %v", c.header, got, ok, c.want, c.ok)
		}
	}
	if _, ok := parseRange("bytes=0-", 0); ok {
		t.Error("an empty representation has no ranges")
	}
}

// Whatever is asked, what is sent lies within the representation, and is at
// most twice as long as it (two ranges may overlap).
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=-5", "bytes=5-", "bytes=0-1,5-6", "bytes=0-10,5-15,12-20", "items=1-2", "bytes=99999999999999999999-"} {
		f.Add(s, int64(1000))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 || size > 1<<40 {
			return
		}
		spans, ok := parseRange(header, size)
		if !ok && spans != nil {
			t.Errorf("%q is ignored and gives %v", header, spans)
		}
		sum := int64(0)
		for _, s := range spans {
			if s.first < 0 || s.first > s.last || s.last >= size {
				t.Errorf("%q of %d bytes gives %v", header, size, s)
			}
			sum += s.length()
		}
		if sum > 2*size || len(spans) > maxRanges {
			t.Errorf("%q of %d bytes gives %d bytes in %d ranges", header, size, sum, len(spans))
		}
	})
}

func TestMatches(t *testing.T) {
	const tag = `"sha256:ab"`
	for _, c := range []struct {
		list         string
		strong, weak bool
	}{
		{tag, true, true},
		{"*", true, true},
		{`"x", ` + tag, true, true},
		{`"x",` + tag + `,"y"`, true, true},
		{"W/" + tag, false, true},
		{`W/"x", W/` + tag, false, true},
		{`"a,b" , ` + tag, true, true},
		{"", false, false},
		{`"x"`, false, false},
		{"sha256:ab", false, false},
		{`"sha256:ab`, false, false},
		{"w/" + tag, false, false},
		{`"x"` + tag, false, false},
	} {
		if matches(c.list, tag, false) != c.strong || matches(c.list, tag, true) != c.weak {
			t.Errorf("matches(%q): %v strong, %v weak", c.list, matches(c.list, tag, false), matches(c.list, tag, true))
		}
	}
}

// A tag matches in a list exactly if it is one of its members.
func FuzzMatches(f *testing.F) {
	f.Add("a", "b", " , ")
	f.Fuzz(func(t *testing.T, a, b, comma string) {
		if strings.ContainsAny(a+b, "\"") || strings.Trim(comma, " \t,") != "" || !strings.Contains(comma, ",") {
			return
		}
		list := fmt.Sprintf(`"%s"%s"%s"`, a, comma, b)
		if !matches(list, `"`+b+`"`, false) || !matches(list, `"`+a+`"`, false) {
			t.Errorf("%q does not hold its members", list)
		}
		if c := `"` + a + b + `x"`; matches(list, c, true) {
			t.Errorf("%q holds %q", list, c)
		}
	})
}
