package statefile

import (
	"strings"
	"testing"

	"phase/appliance/base/strictjson"
)

func TestReadBoot(t *testing.T) {
	for text, says := range map[string]string{
		`{"update":true}`:              "",
		`{"update":true,"colour":"x"}`: BootFile,
		`{"update":"yes"}`:             BootFile,
	} {
		dir := t.TempDir()
		if err := Write(dir, BootFile, Boot{Trial: "sha256:00", Options: strictjson.Raw(text)}); err != nil {
			t.Fatal(err)
		}
		var options struct {
			Update bool `json:"update"`
		}
		b, err := ReadBoot(dir, &options)
		switch {
		case says == "":
			if err != nil || b.Trial != "sha256:00" || !options.Update {
				t.Errorf("%s: %+v, %+v, %v", text, b, options, err)
			}
		case err == nil || !strings.Contains(err.Error(), says):
			t.Errorf("%s: %v", text, err)
		}
	}
}
