package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAMissingToolNamesItsPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	was := sbin
	sbin = nil
	defer func() { sbin = was }()
	for name, pkg := range debianPackage {
		if _, err := Find(name); err == nil || !strings.HasSuffix(err.Error(), "apt-get install "+pkg) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Missing("unheard-of"); !strings.Contains(err.Error(), "not in PATH") {
		t.Error(err)
	}
}

// Stdout is the answer; both streams are in the log and in the error of a tool
// that fails, with the last lines of what it said.
func TestRun(t *testing.T) {
	var log bytes.Buffer
	talk := "echo answer; echo complaint >&2; for i in $(seq 500); do echo $i; echo -$i >&2; done; exit "
	c := Command{Name: "sh", Args: []string{"-c", talk + "0"}, Log: &log}
	out, err := c.Run(t.Context())
	if err != nil || !strings.HasPrefix(string(out), "answer\n1\n2\n") || strings.Contains(string(out), "-1") {
		t.Errorf("the answer is %.40q, %v", out, err)
	}
	if text := log.String(); !strings.Contains(text, "answer\n") || !strings.Contains(text, "complaint\n") || strings.Count(text, "\n") != 1002 {
		t.Errorf("%d bytes in the log", log.Len())
	}
	c.Args, c.Log = []string{"-c", talk + "3"}, nil
	if _, err := c.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "sh: exit status 3: ") || strings.Count(err.Error(), "\n") != 11 {
		t.Errorf("a tool that failed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// What would change the bytes that a tool writes does not reach it.
func TestEnvironment(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	t.Setenv("TZ", "Asia/Tokyo")
	out, err := Command{Name: "env", Env: []string{"OWN=1"}, Dir: t.TempDir()}.Run(t.Context())
	text := "\n" + string(out)
	if err != nil || strings.Contains(text, "SOURCE_DATE_EPOCH") || !strings.Contains(text, "\nTZ=UTC\n") || !strings.Contains(text, "\nOWN=1\n") {
		t.Errorf("%s, %v", text, err)
	}
}

func ExampleMissing() {
	fmt.Println(Missing("mksquashfs"))
	// Output: mksquashfs is not installed: apt-get install squashfs-tools
}
