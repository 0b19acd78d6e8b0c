package docs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// curls are examples of requests, by what they ask (operationId). They are run, see
// blocks_test.go: RUN is a run of the daemon.
var curls = map[string]string{
	"runJob":           `curl -sf -H @build/node/header -F module=@build/examples/hello.wasm -F stdin='one node boots the next' $NODE/v1/jobs`,
	"listJobs":         `curl -sf -H @build/node/header "$NODE/v1/jobs?limit=1"`,
	"getJob":           `curl -sf -H @build/node/header $NODE/v1/jobs/$RUN`,
	"getLogs":          `curl -sf -H @build/node/header "$NODE/v1/logs?lines=5"`,
	"getSupportBundle": `curl -sf -H @build/node/header -o bundle.tar.gz $NODE/v1/support-bundle`,
	"getNode":          `curl -sf -H @build/node/header $NODE/v1/node`,
	"getPeers":         `curl -sf -H @build/node/header $NODE/v1/peers`,
	"cancelJob":        `curl -s -H @build/node/header -X POST $NODE/v1/jobs/$RUN/cancel        # 409 when it has ended`,
	"getUpdate":        `curl -s -H @build/node/header $NODE/v1/update                          # 409 where nothing updates the machine`,
	"update":           `curl -s -H @build/node/header -X POST $NODE/v1/update/check            # the same`,
	"drain":            `curl -sf --unix-socket $SOCKET -X POST "http://phase/v1/drain?seconds=0"`,
	"undrain":          `curl -sf --unix-socket $SOCKET -X DELETE http://phase/v1/drain`,
}

const apiOpening = `# The HTTP interface under /v1

Written from [openapi.yaml](../../appliance/daemon/api/openapi.yaml), which has all of it; a test holds the daemon to that file. In words it is in
[jobs.md](../jobs.md#the-interface); the routes that ask no token are in [serve.md](../serve.md).

The examples ask a daemon on this machine. In one terminal:

<!-- shell: start api until "^listening on " -->
` + "```sh" + `
mkdir -p build/node
build/bin/plasmd start --http 127.0.0.1:8080 --state build/node --data build/node --socket build/node/plasmd.sock
` + "```" + `

and in another, once for all that follows:

<!-- shell: run api -->
` + "```sh" + `
NODE=http://127.0.0.1:8080 SOCKET=build/node/plasmd.sock
printf 'Authorization: Bearer %s' "$(cat build/node/token)" >build/node/header
RUN=$(build/bin/plasmd execute-job --socket $SOCKET --json build/examples/hello.wasm </dev/null | sed 's/.*"run_id":"\([0-9a-f]*\)".*/\1/')
` + "```" + `
`

// description is what is read of openapi.yaml.
type description struct {
	Paths      yaml.Node `yaml:"paths"` // in the order of the file
	Components struct {
		Parameters map[string]parameter `yaml:"parameters"`
		Responses  map[string]response  `yaml:"responses"`
		Schemas    yaml.Node            `yaml:"schemas"`
	} `yaml:"components"`
}

type pathItem struct {
	Parameters []parameter `yaml:"parameters"`
	Get        *operation  `yaml:"get"`
	Post       *operation  `yaml:"post"`
	Delete     *operation  `yaml:"delete"`
}

type operation struct {
	ID          string                `yaml:"operationId"`
	Summary     string                `yaml:"summary"`
	Description string                `yaml:"description"`
	Security    []map[string][]string `yaml:"security"`
	Parameters  []parameter           `yaml:"parameters"`
	Body        struct {
		Content map[string]struct {
			Schema schema `yaml:"schema"`
		} `yaml:"content"`
	} `yaml:"requestBody"`
	Responses map[string]response `yaml:"responses"`
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name        string `yaml:"name"`
	In          string `yaml:"in"`
	Description string `yaml:"description"`
	Required    bool   `yaml:"required"`
	Schema      schema `yaml:"schema"`
}

type response struct {
	Ref         string `yaml:"$ref"`
	Description string `yaml:"description"`
	Content     map[string]struct {
		Schema schema `yaml:"schema"`
	} `yaml:"content"`
}

// apiPage is the page of the HTTP interface.
func apiPage(t *testing.T) string {
	data, err := os.ReadFile(filepath.Join(root, "appliance/daemon/api/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := yaml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(apiOpening)
	unused := maps.Clone(curls)
	each(d.Paths, func(path string, node *yaml.Node) {
		var item pathItem
		if err := node.Decode(&item); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, o := range []struct {
			method string
			*operation
		}{{"GET", item.Get}, {"POST", item.Post}, {"DELETE", item.Delete}} {
			if o.operation != nil {
				d.operation(&b, o.method+" "+path, o.operation, item.Parameters)
				delete(unused, o.ID)
			}
		}
	})
	for id := range unused {
		t.Errorf("there is an example of %s, which openapi.yaml does not have", id)
	}
	b.WriteString("\n## Objects\n")
	each(d.Components.Schemas, func(name string, node *yaml.Node) {
		var s schema
		if err := node.Decode(&s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s.object(&b, name)
	})
	return b.String()
}

// each calls do with the names and values of a mapping, in the order of the file.
func each(mapping yaml.Node, do func(name string, value *yaml.Node)) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		do(mapping.Content[i].Value, mapping.Content[i+1])
	}
}

func (d description) operation(b *strings.Builder, route string, o *operation, more []parameter) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n", route, o.Summary)
	if o.Description != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(o.Description))
	}
	who := "whoever may use the socket; over HTTP the holder of the token"
	if o.Security != nil {
		who = "whoever may use the socket; not over HTTP"
	}
	fmt.Fprintf(b, "\n| | |\n|---|---|\n| who may | %s |\n", who)
	for _, p := range append(slices.Clone(more), o.Parameters...) {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = d.Components.Parameters[name]
		}
		need := ""
		if p.Required && p.In != "path" {
			need = ", required"
		}
		fmt.Fprintf(b, "| `%s` in the %s%s | %s |\n", p.Name, p.In, need, join(cell(p.Description), p.Schema.kind()))
	}
	for _, body := range o.Body.Content {
		each(body.Schema.Properties, func(name string, node *yaml.Node) {
			var s schema
			_ = node.Decode(&s) // it is of the same file as the rest
			fmt.Fprintf(b, "| part `%s` | %s |\n", name, cell(s.Description))
		})
	}
	d.answers(b, o.Responses)
	if curl := curls[o.ID]; curl != "" {
		fmt.Fprintf(b, "\n<!-- shell: run api -->\n```sh\n%s\n```\n", curl)
	}
}

// answers has a row an answer, and one for all problems.
func (d description) answers(b *strings.Builder, responses map[string]response) {
	problems := []string{}
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		r := responses[status]
		if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
			r = d.Components.Responses[name]
		}
		if status >= "400" {
			problems = append(problems, status)
			continue
		}
		kinds := []string{}
		for _, kind := range slices.Sorted(maps.Keys(r.Content)) {
			kinds = append(kinds, join("`"+kind+"`", r.Content[kind].Schema.named()))
		}
		fmt.Fprintf(b, "| answer %s | %s |\n", status, join(cell(r.Description), strings.Join(kinds, "; ")))
	}
	fmt.Fprintf(b, "| answers %s | [Problem](#problem) as `application/problem+json` |\n", strings.Join(problems, ", "))
}

// join puts a colon between two texts, if there are two.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}
