package attacks

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// receiptVector is a line of tests/vectors/receipt/cases.json.
type receiptVector struct {
	File   string `json:"file"`
	PadTo  int    `json:"pad_to"`
	Peer   string `json:"peer"`
	Job    string `json:"job"`
	Stdout string `json:"stdout_base64"`
	Stderr string `json:"stderr_base64"`
	Code   string `json:"code"`
	Why    string `json:"why"`
}

// receiptRows have plasmd receipt verify judge the receipts that every reader
// must refuse. The nonce of the offer has no option there.
func receiptRows(t *testing.T, m *matrix) {
	data, err := os.ReadFile(filepath.Join(vectors, "receipt", "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []receiptVector
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	kinds := map[string][]receiptVector{}
	for _, v := range list {
		if v.Code != "nonce" && v.Code != "" {
			kinds[v.Code] = append(kinds[v.Code], v)
		}
	}
	var rows []row
	for code, list := range kinds {
		did := fmt.Sprintf("%d receipts of tests/vectors: %s", len(list), list[0].Why)
		rows = append(rows, row{0, code, did, func(t *testing.T) (said string, held bool) {
			for _, v := range list {
				if said, held = v.judged(t); !held {
					return v.File + ": " + said, false
				}
			}
			return said, true
		}})
	}
	m.try(t, "receipt", rows...)
}

func (v receiptVector) judged(t *testing.T) (string, bool) {
	t.Helper()
	output := func(name, text string) string {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return write(t, name, data)
	}
	e := call(t, "plasmd", "receipt", "verify", "--json", "--key", v.Peer, "--job", filepath.Join(vectors, "receipt", v.Job),
		"--stdout", output("stdout", v.Stdout), "--stderr", output("stderr", v.Stderr), vector{File: v.File, PadTo: v.PadTo}.path(t, "receipt"))
	var answer struct {
		OK      bool   `json:"ok"`
		Problem string `json:"problem"`
	}
	e.decode(t, &answer)
	if answer.OK || e.code != 1 {
		return fmt.Sprintf("ok [exit %d]", e.code), false
	}
	return fmt.Sprintf("%s [exit %d]", answer.Problem, e.code), !strings.Contains(answer.Problem, "\n")
}
