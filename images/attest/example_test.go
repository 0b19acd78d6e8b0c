package attest_test

import (
	"fmt"
	"runtime/debug"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/images/attest"
)

func Example() {
	r := attest.Release{
		Arch: "x86_64", Name: "2026.11.23", Time: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Artifacts: map[string]manifest.Artifact{},
		Programs: []attest.Program{{Path: "/user/phase", Info: &debug.BuildInfo{GoVersion: "go1.26.3", Path: "phase/programs/phase"}}},
		Kernel:   attest.Kernel{Linux: "7.1.2", Module: "example.org/kernel", Version: "v0.0.1"},
	}
	for _, name := range manifest.Required {
		r.Artifacts[name] = manifest.Artifact{Size: int64(len(name)), SHA256: names.Sum([]byte(name))}
	}
	sbom, err := attest.SBOM(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	bill, err := attest.ReadSBOM(sbom)
	fmt.Println(bill.Programs, "program,", bill.Modules, "module, Linux", bill.Linux, err)

	payload, err := attest.Provenance(r, attest.Build{Builder: "urn:example:me", Commit: "c0ffee", Go: "go1.26.3"}, sbom)
	if err != nil {
		fmt.Println(err)
		return
	}
	statement, err := attest.Parse(envelope.Envelope{PayloadType: attest.PayloadType, Payload: payload})
	fmt.Println(statement.Summary().Commit, err, statement.Covers(r.Artifacts, sbom))
	// Output:
	// 1 program, 1 module, Linux 7.1.2 <nil>
	// c0ffee <nil> <nil>
}
