package vectors

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"phase/appliance/base/envelope"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

const schemaDir = "../../docs/schemas"

// compile reads a schema, or a part of it (#/$defs/…), and holds it to the
// rules of JSON Schema 2020-12.
func compile(t *testing.T, file, part string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(load(t, schemaDir, file)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource(file, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(file + part)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// obeys reports whether the schema lets a document pass; false, too, where it
// is no JSON.
func obeys(s *jsonschema.Schema, data []byte) bool {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	return err == nil && s.Validate(doc) == nil
}

func TestJobSchema(t *testing.T) {
	s := compile(t, "job.schema.json", "")
	var cases []jobCase
	loadCases(t, "job", &cases)
	for _, c := range cases {
		data := load(t, "job", c.File)
		switch ok := obeys(s, data); {
		case c.Code == "" && !ok:
			t.Errorf("%s: the schema refuses it", c.File)
		case c.Code == "field" && ok:
			t.Errorf("%s: %s, and the schema lets it pass", c.File, c.Why)
		}
	}
	raw := rawSchema(t, "job.schema.json")
	sameFields(t, raw, raw, reflect.TypeFor[job.Job](), "job")
	for field, most := range map[string]float64{
		"cpu_cores": job.MaxCPUCores, "memory_mb": job.MaxMemoryMB,
		"timeout_seconds": job.MaxTimeoutSeconds, "output_bytes": job.MaxOutputBytes,
	} {
		p := raw["properties"].(object)[field].(object)
		if p["minimum"] != 1.0 || p["maximum"] != most {
			t.Errorf("%s: %v to %v, want 1 to %v", field, p["minimum"], p["maximum"], most)
		}
	}
	if raw["additionalProperties"] != false {
		t.Error("unknown fields of a job pass")
	}
}

// unseen are the damaged receipts whose fault no schema can see.
var unseen = []string{"statement-finished-before.json"}

func TestReceiptSchema(t *testing.T) {
	outer := compile(t, "receipt.schema.json", "")
	inner := compile(t, "receipt.schema.json", "#/$defs/statement")
	var cases []receiptCase
	loadCases(t, "receipt", &cases)
	for _, c := range cases {
		data := load(t, "receipt", c.File)
		ok := obeys(outer, data)
		if env, err := envelope.Parse(data); ok && err == nil {
			ok = obeys(inner, env.Payload)
		}
		seen := c.Code == "format" && !slices.Contains(unseen, c.File) &&
			(strings.HasPrefix(c.File, "statement-") || strings.HasPrefix(c.File, "envelope-no-"))
		switch {
		case c.Code == "" && !ok:
			t.Errorf("%s: the schema refuses it", c.File)
		case seen && ok:
			t.Errorf("%s: %s, and the schema lets it pass", c.File, c.Why)
		}
	}
	raw := rawSchema(t, "receipt.schema.json")
	statement := raw["$defs"].(object)["statement"].(object)
	sameFields(t, raw, statement, reflect.TypeFor[receipt.Statement](), "statement")
	outcomes := raw["$defs"].(object)["predicate"].(object)["properties"].(object)["outcome"].(object)["enum"].([]any)
	for _, o := range outcomes {
		if !job.Outcome(o.(string)).Known() {
			t.Errorf("the schema knows the outcome %q", o)
		}
	}
	for _, o := range []job.Outcome{job.Exited, job.Trapped, job.Timeout, job.Memory, job.Output, job.Cancelled} {
		if !slices.Contains(outcomes, any(string(o))) {
			t.Errorf("the schema does not know the outcome %q", o)
		}
	}
}

func rawSchema(t *testing.T, file string) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(load(t, filepath.Join(schemaDir, file)), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// sameFields compares the fields of a Go type with the properties of a schema,
// and which of them must be there, as deep as both go.
func sameFields(t *testing.T, root, schema object, typ reflect.Type, where string) {
	t.Helper()
	schema = follow(root, schema)
	properties, _ := schema["properties"].(object)
	var names, required []string
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
		if options != "omitempty" {
			required = append(required, name)
		}
		property, known := properties[name].(object)
		if !known {
			continue // told below
		}
		property = follow(root, property)
		at := where + "." + name
		switch inner := field.Type; {
		case inner == reflect.TypeFor[time.Time]():
			if property["format"] != "date-time" {
				t.Errorf("%s: format %v", at, property["format"])
			}
		case inner.Kind() == reflect.Struct:
			sameFields(t, root, property, inner, at)
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			for _, item := range property["prefixItems"].([]any) {
				sameFields(t, root, item.(object), inner.Elem(), at)
			}
		}
	}
	slices.Sort(names)
	if listed := slices.Sorted(maps.Keys(properties)); !slices.Equal(listed, names) {
		t.Errorf("%s: the schema has %v, the type %v", where, listed, names)
	}
	var listed []string
	for _, name := range schema["required"].([]any) {
		listed = append(listed, name.(string))
	}
	slices.Sort(listed)
	slices.Sort(required)
	if !slices.Equal(listed, required) {
		t.Errorf("%s: the schema requires %v, the type %v", where, listed, required)
	}
}

func follow(root, schema object) object {
	ref, ok := schema["$ref"].(string)
	if !ok {
		return schema
	}
	return root["$defs"].(object)[strings.TrimPrefix(ref, "#/$defs/")].(object)
}
