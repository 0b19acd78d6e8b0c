package ui

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 17301504: "16.5 MiB", -2048: "-2.00 KiB", 20 << 20: "20.0 MiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{350 * time.Millisecond: "350 ms", 4200 * time.Millisecond: "4.2 s", 200 * time.Second: "3m20s"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, [][]string{{"NAME", "SIZE"}, {"kernel", "16 MiB"}}); err != nil {
		t.Fatal(err)
	}
	if want := "NAME    SIZE\nkernel  16 MiB\n"; b.String() != want {
		t.Errorf("Table wrote %q, want %q", b.String(), want)
	}
}

// FuzzClean states the law: whatever comes in, one short printable line of
// valid UTF-8 comes out, and what was such a line is not changed.
func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31mred\r\n\x00\xff\u202e")
	f.Add(strings.Repeat("é", 400))
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) || len(got) > 3*cleanMax+len("…") {
			t.Fatalf("Clean(%q) = %q", s, got)
		}
		for _, r := range got {
			if r != ' ' && !unicode.IsPrint(r) {
				t.Fatalf("Clean(%q) let %U through", s, r)
			}
		}
		if again := Clean(got); len(got) <= cleanMax && again != got {
			t.Fatalf("Clean is not idempotent: %q then %q", got, again)
		}
	})
}
