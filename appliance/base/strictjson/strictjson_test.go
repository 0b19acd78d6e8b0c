package strictjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

type doc struct {
	Version uint64         `json:"version"`
	Name    *string        `json:"name"`
	List    []int          `json:"list"`
	Map     map[string]any `json:"map"`
	Raw     Raw            `json:"raw"`
}

func TestUnmarshal(t *testing.T) {
	for _, c := range []struct {
		text    string
		ok      bool // read with unknown names ignored
		unknown bool // refused with RejectUnknown though ok without
	}{
		{`{"version":1}`, true, false},
		{` {"version":1,"list":[1,2],"map":{"a":{"A ":1}},"raw":[1]} ` + "\n", true, false},
		{`{"version":9007199254740991}`, true, false},
		{`{"version":1,"more":{"version":2}}`, true, true},
		{`{"version":9007199254740992}`, false, false},
		{`{"list":[-9007199254740992]}`, false, false},
		{`{"list":[-9007199254740991]}`, true, false},
		{`{"more":18446744073709551616}`, false, false},
		{`{"map":{"x":1e16}}`, false, false},
		{`{"map":{"x":1e999}}`, false, false},
		{`{"version":1,"version":1}`, false, false},
		{`{"version":1,"VERSION":9}`, false, false},
		{`{"VERSION":9}`, false, false},
		{`{"map":{"straße":1,"STRASSE":2}}`, true, false},
		{`{"map":{"k":1,"` + "\u212a" + `":2}}`, false, false},
		{`{"map":{"s":1,"` + "\u017f" + `":2}}`, false, false},
		{`{"more":[{"x":1,"X":2}]}`, false, false},
		{`{"more":[{"x":1},{"X":2}]}`, true, true},
		{`{"map":{"version":"version","x":["version","version"]}}`, true, false},
		{"{\"name\":\"\xff\"}", false, false},
		{`{"name":"\ud800"}`, false, false},
		{`{"name":"\ud83d\ude00"}`, true, false},
		{`{"version":1}x`, false, false},
		{`{"version":1} {}`, false, false},
		{`{"version":1`, false, false},
		{`{"version":1,}`, false, false},
		{`{"version":01}`, false, false},
		{`{version:1}`, false, false},
		{`{"version":1} // why`, false, false},
		{`{"version":NaN}`, false, false},
		{`{"version":"1"}`, false, false},
		{`{"version":1.0}`, false, false},
		{`{"version":-1}`, false, false},
		{"\ufeff{}", false, false},
		{"", false, false},
		{" ", false, false},
		{`{"more":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}`, true, true},
		{`{"more":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`, false, false},
	} {
		var d doc
		if err := Unmarshal([]byte(c.text), &d); (err == nil) != c.ok {
			t.Errorf("%.60s: %v", c.text, err)
		} else if err != nil && !reflect.DeepEqual(d, doc{}) {
			t.Errorf("%.60s: refused, but something was set", c.text)
		}
		if err := Unmarshal([]byte(c.text), &d, RejectUnknown); (err == nil) != (c.ok && !c.unknown) {
			t.Errorf("%.60s with RejectUnknown: %v", c.text, err)
		}
	}
}

func TestLimit(t *testing.T) {
	var v any
	if err := Unmarshal([]byte(`"`+strings.Repeat("x", MaxBytes-2)+`"`), &v); err != nil {
		t.Error(err)
	}
	if err := Unmarshal([]byte(`"`+strings.Repeat("x", MaxBytes-1)+`"`), &v); !errors.Is(err, ErrSize) {
		t.Errorf("one byte over the cap: %v", err)
	}
	if err := Unmarshal([]byte("[1]"), &v, Limit(2)); !errors.Is(err, ErrSize) {
		t.Errorf("one byte over a limit: %v", err)
	}
	if err := Unmarshal([]byte("[1]"), v); err == nil {
		t.Error("decoded into no pointer")
	}
}

func TestBase64(t *testing.T) {
	for text, want := range map[string]string{
		"":         "",
		"aGVsbG8=": "hello",
		"/+8=":     "\xff\xef",
		"_-8=":     "\xff\xef",
	} {
		if got, err := Base64(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"aGVsbG8", "aGVs\nbG8=", "aGVsbG8=\r\n", "aGVsbG9=", "/-8=", "aGVsbG8==", " aGVsbG8=", "*"} {
		if got, err := Base64(text); err == nil {
			t.Errorf("%q was read as %q", text, got)
		}
	}
}

func TestMarshal(t *testing.T) {
	v := map[string]any{"b": 1, "a": []int(nil), "c": Raw(`{"x": 1}`)}
	if got, err := Marshal(v); err != nil || string(got) != `{"a":[],"b":1,"c":{"x":1}}` {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := MarshalIndent(map[string]int{"a": 1}); err != nil || string(got) != "{\n  \"a\": 1\n}\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzUnmarshal states the law: what is accepted means one thing. The
// standard library's old decoder, which forgives case and duplicates, must
// read the same document from it, and so must a second reading of our own
// encoding of it.
func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{`{"version":1,"VERSION":9}`, `{"version":3,"name":"x","list":[1],"map":{"a":null},"raw":{"b":[true]}}`,
		`{"version":1,"version":1}`, `{"ver\u0073ion":1}`, `{"more":{}}`, "{}", `{"map":{"x":0.1}}`} {
		f.Add([]byte(text))
	}
	type plain struct {
		Version uint64          `json:"version"`
		Name    *string         `json:"name"`
		List    []int           `json:"list"`
		Map     map[string]any  `json:"map"`
		Raw     json.RawMessage `json:"raw"`
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours doc
		if Unmarshal(data, &ours) != nil {
			return
		}
		var theirs plain
		if err := json.Unmarshal(data, &theirs); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		same := ours.Version == theirs.Version && reflect.DeepEqual(ours.Name, theirs.Name) && len(ours.List) == len(theirs.List) &&
			len(ours.Map) == len(theirs.Map) && (len(ours.Map) == 0 || reflect.DeepEqual(ours.Map, theirs.Map)) && string(ours.Raw) == string(theirs.Raw)
		if !same {
			t.Fatalf("two readers, two documents: %+v and %+v", ours, theirs)
		}
		text, err := Marshal(ours)
		if err != nil {
			t.Fatal(err)
		}
		var again doc
		if err := Unmarshal(text, &again, Limit(2*MaxBytes)); err != nil {
			t.Fatalf("our own %s is refused: %v", text, err)
		}
		if again.Version != ours.Version || len(again.List) != len(ours.List) {
			t.Fatalf("%s reads back as another document", text)
		}
	})
}

func FuzzBase64(f *testing.F) {
	f.Add("aGVsbG8=")
	f.Add("_-8=")
	f.Fuzz(func(t *testing.T, text string) {
		data, err := Base64(text)
		if err != nil {
			return
		}
		// One text a value in each alphabet: no slack to hide anything in.
		std, _ := json.Marshal(data)
		if normal := strings.NewReplacer("-", "+", "_", "/").Replace(text); `"`+normal+`"` != string(std) {
			t.Fatalf("%q and %s are one value", text, std)
		}
	})
}
