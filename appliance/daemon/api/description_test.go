package api

import (
	"bytes"
	"fmt"
	"maps"
	"mime"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// described is openapi.yaml, to hold the server against.
type described struct {
	root    map[string]any
	schemas *jsonschema.Compiler
}

const descriptionURL = "urn:phase:openapi"

func describe(t *testing.T) described {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d described
	if err := yaml.Unmarshal(text, &d.root); err != nil {
		t.Fatal(err)
	}
	if version, _ := d.root["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		t.Fatalf("openapi.yaml is of version %q", version)
	}
	d.schemas = jsonschema.NewCompiler()
	d.schemas.DefaultDraft(jsonschema.Draft2020) // the dialect of OpenAPI 3.1
	d.schemas.AssertFormat()
	if err := d.schemas.AddResource(descriptionURL, d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// follow resolves a reference within the document.
func (d described) follow(v any) map[string]any {
	object, _ := v.(map[string]any)
	if to, ok := object["$ref"].(string); ok {
		return d.object(d.root, strings.Split(strings.TrimPrefix(to, "#/"), "/")...)
	}
	return object
}

// object walks down from one object by names, following references.
func (d described) object(from map[string]any, names ...string) map[string]any {
	for _, name := range names {
		from = d.follow(from[name])
	}
	return from
}

// operations are what is described, as "GET /v1/jobs".
func (d described) operations(t *testing.T) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for path, item := range d.object(d.root, "paths") {
		for method, operation := range d.follow(item) {
			if slices.Contains([]string{"get", "put", "post", "delete", "head", "patch"}, method) {
				all[strings.ToUpper(method)+" "+path] = d.follow(operation)
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("openapi.yaml describes nothing")
	}
	return all
}

// schema compiles the schema at a place in the document.
func (d described) schema(names ...string) (*jsonschema.Schema, error) {
	pointer := ""
	for _, name := range names {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	}
	return d.schemas.Compile(descriptionURL + "#" + pointer)
}

// answers says what is wrong with an answer, nil when it is as described.
func (d described) answers(op, status, contentType string, body []byte) error {
	method, path, _ := strings.Cut(op, " ")
	at := []string{"paths", path, strings.ToLower(method), "responses", status}
	response := d.object(d.root, at...)
	if response == nil {
		return fmt.Errorf("%s: %s is not described", op, status)
	}
	if ref, ok := d.object(d.root, at[:4]...)[status].(map[string]any)["$ref"].(string); ok {
		at = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	}
	content := d.object(response, "content")
	kind, _, err := mime.ParseMediaType(contentType)
	if len(content) == 0 && len(body) == 0 {
		return nil
	}
	if err != nil || content[kind] == nil {
		return fmt.Errorf("%s: %s is of type %q, described are %v", op, status, contentType, slices.Sorted(maps.Keys(content)))
	}
	if !strings.HasSuffix(kind, "json") {
		return nil // text, as it comes
	}
	schema, err := d.schema(append(at, "content", kind, "schema")...)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %s: %w", op, status, err)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s: %s is not as described: %w", op, status, err)
	}
	return nil
}

func jsonValue(t *testing.T, line []byte) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return value
}
