package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/strictjson"
)

func TestFilesSurvive(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, v := range map[string]any{
		BootFile: &Boot{Mode: "internet", Options: strictjson.Raw(`{"update":true}`), OptionsUnknown: []string{"phase.x"}, BootedFrom: FromStub,
			Problems: []string{"no disk"}, Watchdog: "none", Data: "/perm/phase/plasmd", Started: at,
			Held: &Held{Manifest: "/boot/manifest.json", Artifacts: map[string]string{"kernel": "/boot/vmlinuz"}}},
		NetFile: &Net{Interfaces: []Interface{{Name: "eth0", MAC: "52:54:00:00:00:01", Up: true, Addresses: []string{"169.254.1.2/16"}, Method: "link-local"}}, Problems: []string{}},
		UpdateFile: &Update{State: "idle", Last: &Attempt{At: at, Provider: "http://[fe80::1%25eth0]:8080", Version: 42, Result: "refused", Code: "signature", Reason: "nobody"},
			History: []Attempt{}},
	} {
		dir := t.TempDir()
		if err := Write(dir, name, v); err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(v).Elem())
		if err := Read(dir, name, back.Interface()); err != nil {
			t.Fatal(err)
		}
		if b, ok := back.Interface().(*Boot); ok {
			var options struct {
				Update bool `json:"update"`
			}
			if err := strictjson.Unmarshal(b.Options, &options, strictjson.RejectUnknown); err != nil || !options.Update {
				t.Errorf("options %s: %v", b.Options, err)
			}
			b.Options = v.(*Boot).Options // laid out anew, but the same
		}
		if !reflect.DeepEqual(back.Interface(), v) {
			t.Errorf("%s: read %+v, written %+v", name, back.Interface(), v)
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
}

// TestAbsentIsNotNull: what is not known is left out or empty, never null, so
// that a reader in any language can walk the file.
func TestAbsentIsNotNull(t *testing.T) {
	for _, v := range []any{Boot{}, Net{}, Update{}} {
		text, err := strictjson.Marshal(v)
		if err != nil || strings.Contains(string(text), "null") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/x"} {
		if err := Write(dir, name, 1); err == nil {
			t.Errorf("%q was written", name)
		}
		var v any
		if err := Read(dir, name, &v); err == nil {
			t.Errorf("%q was read", name)
		}
	}
	var n Net
	if err := Read(dir, NetFile, &n); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for name, text := range map[string]string{
		"torn":  `{"interfaces":[`,
		"twice": `{"problems":[],"problems":["x"]}`,
		"huge":  `{"problems":[]}` + strings.Repeat(" ", MaxBytes),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Read(dir, name, &n); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	if err := Write(dir, NetFile, strings.Repeat("x", MaxBytes)); err == nil {
		t.Error("more than the cap was written")
	}
	if err := Write(filepath.Join(dir, "nowhere"), NetFile, n); err == nil {
		t.Error("written into no folder")
	}
}

// TestWriteIsWhole: a reader beside a writer sees one text or the other, and
// nothing is left beside the file.
func TestWriteIsWhole(t *testing.T) {
	dir := t.TempDir()
	texts := []string{strings.Repeat("a", 50_000), strings.Repeat("b", 100_000)}
	if err := Write(dir, "x.json", texts[0]); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 100 {
			if err := Write(dir, "x.json", texts[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for {
		var got string
		if err := Read(dir, "x.json", &got); err != nil || got != texts[0] && got != texts[1] {
			t.Errorf("half a file of %d bytes: %v", len(got), err)
			break
		}
		select {
		case <-done:
			wg.Wait()
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("left beside the file: %v", entries)
			}
			return
		default:
		}
	}
	wg.Wait()
}
