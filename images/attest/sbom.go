package attest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"phase/appliance/base/names"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/layout"
)

// SBOM writes the bill of materials: the programs, the modules of each as the
// program itself names them, the Go standard library, and the kernel. What is a
// file of this repository alone (init scripts, tables in /etc) is in the rootfs,
// whose digest stands there.
func SBOM(r Release) ([]byte, error) {
	modules := map[string]cdx.Component{}
	about := ref("phase", r.Name) + "?arch=" + r.Arch
	all := cdx.Component{
		BOMRef: about, Type: cdx.ComponentTypeOS, Name: "phase", Version: r.Name,
		Properties: &[]cdx.Property{{Name: "phase:arch", Value: r.Arch}},
	}
	kernel := r.kernel()
	components := []cdx.Component{kernel}
	inRelease := []string{kernel.BOMRef}
	var depends []cdx.Dependency
	for _, p := range slices.SortedFunc(slices.Values(r.Programs), func(a, b Program) int { return cmp.Compare(a.Path, b.Path) }) {
		if p.Info == nil {
			return nil, fmt.Errorf("writing the bill of materials: %s says nothing of its build", p.Path)
		}
		program := cdx.Component{
			BOMRef: "program:" + p.Path, Type: cdx.ComponentTypeApplication, Name: p.Path, Version: r.Name, Hashes: hashes(p.SHA256),
			Properties: &[]cdx.Property{{Name: "phase:go:package", Value: p.Info.Path}},
		}
		components, inRelease = append(components, program), append(inRelease, program.BOMRef)
		var uses []string
		for _, c := range linked(p.Info) {
			modules[c.BOMRef] = c
			uses = append(uses, c.BOMRef)
		}
		slices.Sort(uses)
		depends = append(depends, cdx.Dependency{Ref: program.BOMRef, Dependencies: &uses})
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		components = append(components, modules[name])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Artifacts)) {
		components = append(components, cdx.Component{
			BOMRef: "artifact:" + name, Type: cdx.ComponentTypeFile, Name: name, Hashes: hashes(r.Artifacts[name].SHA256),
		})
		inRelease = append(inRelease, "artifact:"+name)
	}
	slices.Sort(inRelease)
	depends = append([]cdx.Dependency{{Ref: about, Dependencies: &inRelease}}, depends...)

	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + gpt.NewID(r.seed()).String()
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.Time.UTC().Format(time.RFC3339), Component: &all,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "images attest"}}},
	}
	bom.Components, bom.Dependencies = &components, &depends
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("writing the bill of materials: %w", err)
	}
	if out.Len() > layout.MaxDocument {
		return nil, fmt.Errorf("writing the bill of materials: it has %d bytes, at most %d", out.Len(), layout.MaxDocument)
	}
	return out.Bytes(), nil
}

// seed is what the serial number follows from.
func (r Release) seed() []byte {
	seed := []byte("sbom " + r.Arch)
	for _, name := range slices.Sorted(maps.Keys(r.Artifacts)) {
		seed = fmt.Appendf(seed, " %s %s", name, r.Artifacts[name].SHA256)
	}
	return seed
}

func (r Release) kernel() cdx.Component {
	return cdx.Component{
		BOMRef: ref(r.Kernel.Module, r.Kernel.Version), Type: cdx.ComponentTypeOS, Name: "linux", Version: r.Kernel.Linux,
		PackageURL: ref(r.Kernel.Module, r.Kernel.Version),
		CPE:        "cpe:2.3:o:linux:linux_kernel:" + r.Kernel.Linux + ":*:*:*:*:*:*:*",
		Hashes:     hashes(r.Artifacts["kernel"].SHA256), Properties: sum(r.Kernel.Sum),
	}
}

// linked are the modules in a program, and the standard library.
func linked(info *debug.BuildInfo) []cdx.Component {
	std := ref("std", strings.TrimPrefix(info.GoVersion, "go"))
	all := []cdx.Component{{BOMRef: std, Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: std}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		at := ref(m.Path, m.Version)
		all = append(all, cdx.Component{BOMRef: at, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: at, Properties: sum(m.Sum)})
	}
	return all
}

// ref is the package URL of a Go module (https://github.com/package-url/purl-spec).
func ref(module, version string) string {
	return "pkg:golang/" + module + "@" + strings.ReplaceAll(version, "+", "%2B")
}

func hashes(d names.Digest) *[]cdx.Hash {
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: d.Hex()}}
}

// sum is a module's line of go.sum. It is no digest of one file, so it is not
// among the hashes.
func sum(h1 string) *[]cdx.Property {
	if h1 == "" {
		return nil
	}
	return &[]cdx.Property{{Name: "phase:go:sum", Value: h1}}
}

// Bill is what a bill of materials says, in numbers.
type Bill struct {
	Programs int    `json:"programs"`
	Modules  int    `json:"modules"` // of Go, the standard library is one
	Linux    string `json:"linux"`
}

// ReadSBOM reads a bill of materials of at most layout.MaxDocument bytes.
func ReadSBOM(data []byte) (b Bill, err error) {
	if len(data) > layout.MaxDocument {
		return b, fmt.Errorf("reading the bill of materials: %d bytes, at most %d", len(data), layout.MaxDocument)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(data), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return b, fmt.Errorf("reading the bill of materials: %w", err)
	}
	if bom.BOMFormat != cdx.BOMFormat || bom.Components == nil {
		return b, errors.New("reading the bill of materials: it is not CycloneDX, or lists nothing")
	}
	for _, c := range *bom.Components {
		switch c.Type {
		case cdx.ComponentTypeApplication:
			b.Programs++
		case cdx.ComponentTypeLibrary:
			b.Modules++
		case cdx.ComponentTypeOS:
			b.Linux = c.Version
		}
	}
	return b, nil
}
