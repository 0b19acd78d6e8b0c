package docs

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// schema is what the page of the interface says of a JSON schema.
type schema struct {
	Ref         string    `yaml:"$ref"`
	Type        yaml.Node `yaml:"type"` // a name, or several
	Description string    `yaml:"description"`
	Enum        []string  `yaml:"enum"`
	Const       string    `yaml:"const"`
	Encoding    string    `yaml:"contentEncoding"`
	Format      string    `yaml:"format"`
	Pattern     string    `yaml:"pattern"`
	Minimum     *int64    `yaml:"minimum"`
	Maximum     *int64    `yaml:"maximum"`
	Default     string    `yaml:"default"`
	Items       *schema   `yaml:"items"`
	OneOf       []schema  `yaml:"oneOf"`
	AnyOf       []schema  `yaml:"anyOf"`
	Properties  yaml.Node `yaml:"properties"`
}

// kind is what a value is, in words.
func (s schema) kind() string {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	var kinds []string
	for _, one := range append(s.OneOf, s.AnyOf...) {
		if kind := one.kind(); kind != "" {
			kinds = append(kinds, kind)
		}
	}
	switch {
	case len(kinds) > 0:
		return strings.Join(kinds, " or ")
	case s.Const != "":
		return "`" + s.Const + "`"
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Items != nil:
		return "list of " + s.Items.kind()
	}
	if s.Type.Value != "" {
		kinds = []string{s.Type.Value}
	}
	for _, one := range s.Type.Content {
		kinds = append(kinds, one.Value)
	}
	kind := strings.Join(kinds, " or ")
	if s.Encoding != "" {
		kind += ", " + s.Encoding
	}
	if s.Format == "date-time" {
		kind += ", RFC 3339"
	}
	var fields []string
	each(s.Properties, func(name string, _ *yaml.Node) { fields = append(fields, "`"+name+"`") })
	if len(fields) > 0 {
		kind += " of " + strings.Join(fields, ", ")
	}
	return strings.TrimPrefix(kind+s.limits(), ", ")
}

// named is the kind, or what the description says where that names another schema.
func (s schema) named() string {
	if before, name, ok := strings.Cut(s.Description, "`#/components/schemas/"); ok {
		name, after, _ := strings.Cut(name, "`")
		return strings.ToLower(before) + schema{Ref: "#/components/schemas/" + name}.kind() + after
	}
	return s.kind()
}

// limits is what a value may be.
func (s schema) limits() string {
	var limits string
	if s.Minimum != nil && s.Maximum != nil {
		limits += fmt.Sprintf(", %d to %d", *s.Minimum, *s.Maximum)
	}
	if s.Pattern != "" {
		limits += ", `" + strings.ReplaceAll(s.Pattern, "|", `\|`) + "`"
	}
	if s.Default != "" {
		limits += ", by default " + s.Default
	}
	return limits
}

// object writes a schema of its own: a row a field.
func (s schema) object(b *strings.Builder, name string) {
	fmt.Fprintf(b, "\n### %s\n", name)
	if s.Description != "" {
		fmt.Fprintf(b, "\n%s.\n", strings.TrimRight(strings.TrimSpace(s.Description), "."))
	}
	forms := s.OneOf
	if len(s.Properties.Content) > 0 {
		forms = []schema{s}
	}
	if len(forms) == 0 {
		fmt.Fprintf(b, "\n%s.\n", s.kind())
		return
	}
	for _, form := range forms {
		if len(s.OneOf) > 0 {
			fmt.Fprintf(b, "\n%s:\n", strings.TrimSpace(form.Description))
		}
		b.WriteString("\n| field | what |\n|---|---|\n")
		each(form.Properties, func(field string, node *yaml.Node) {
			var f schema
			_ = node.Decode(&f) // it is of the same file as the rest
			fmt.Fprintf(b, "| `%s` | %s |\n", field, join(cell(f.Description), f.kind()))
		})
	}
}
