package api

import (
	"testing"

	"phase/appliance/base/strictjson"
)

// A line of what is found is as described.
func TestFoundIsAsDescribed(t *testing.T) {
	schema, err := describe(t).schema("components", "schemas", "Found")
	if err != nil {
		t.Fatal(err)
	}
	f := Found{Peer: "12D3KooWtest", Channel: "stable", Arch: "x86_64", Version: 7, Source: "192.0.2.7", URLs: []string{"http://192.0.2.7:8080"}}
	line, err := strictjson.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(jsonValue(t, line)); err != nil {
		t.Error(err)
	}
	if a := f.Announcement(); a.Peer != f.Peer || a.Version != 7 || a.Key == "" || a.Source != f.Source || len(a.URLs) != 1 {
		t.Errorf("announced as %+v", a)
	}
}
