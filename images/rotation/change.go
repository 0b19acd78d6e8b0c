// Package rotation makes the root that follows from another one, and says what
// a fleet will do when it is published. It signs nothing and reads no files: keys
// and clocks come in as arguments.
package rotation

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/release/trust"
)

// Change is what the next root has otherwise.
type Change struct {
	// Add and Remove are keys, by role. A key that is removed from the role ""
	// is removed from all.
	Add    map[string][]ed25519.PublicKey
	Remove map[string][]string // key ids, or their first digits
	// Threshold by role.
	Threshold map[string]int
	// Drop are roles of channels, which then are signed for by role release.
	Drop []string
	// Expires of the new root.
	Expires time.Time
}

// leastDigits is how many digits of a key id name a key.
const leastDigits = 8

// Apply makes the next version from a root; from the zero RootSpec, version 1.
// Whether the result can be a root is judged by its Payload.
func (c Change) Apply(before trust.RootSpec) (trust.RootSpec, error) {
	next := trust.RootSpec{Version: before.Version + 1, Expires: c.Expires, Roles: map[string]trust.RoleSpec{}}
	for name, role := range before.Roles {
		next.Roles[name] = trust.RoleSpec{Keys: slices.Clone(role.Keys), Threshold: role.Threshold}
	}
	for _, name := range c.Drop {
		if _, ok := next.Roles[name]; !ok || !strings.HasPrefix(name, trust.RoleRelease+"/") {
			return next, fmt.Errorf("dropping role %q: the roles of channels are %q", name, channelRoles(next))
		}
		delete(next.Roles, name)
	}
	// Removed first: a key may move from one role to another.
	for _, role := range slices.Sorted(maps.Keys(c.Remove)) {
		for _, id := range c.Remove[role] {
			if err := remove(next, role, id); err != nil {
				return next, err
			}
		}
	}
	for _, role := range slices.Sorted(maps.Keys(c.Add)) {
		for _, key := range c.Add[role] {
			if err := add(next, role, key); err != nil {
				return next, err
			}
		}
	}
	for name, threshold := range c.Threshold {
		role, ok := next.Roles[name]
		if !ok {
			return next, fmt.Errorf("the threshold of role %q: no key is in it", name)
		}
		role.Threshold = threshold
		next.Roles[name] = role
	}
	return next, nil
}

func channelRoles(spec trust.RootSpec) []string {
	roles := []string{}
	for name := range spec.Roles {
		if strings.HasPrefix(name, trust.RoleRelease+"/") {
			roles = append(roles, name)
		}
	}
	slices.Sort(roles)
	return roles
}

// CheckRole refuses names that no program would ever ask for.
func CheckRole(name string) error {
	if name == trust.RoleRoot || name == trust.RoleRelease {
		return nil
	}
	channel, ok := strings.CutPrefix(name, trust.RoleRelease+"/")
	if !ok || !slices.Contains(names.Channels, channel) {
		return fmt.Errorf("role %.40q is none of root, release, release/%s", name, strings.Join(names.Channels, ", release/"))
	}
	return nil
}

func add(spec trust.RootSpec, name string, key ed25519.PublicKey) error {
	if err := CheckRole(name); err != nil {
		return err
	}
	role := spec.Roles[name]
	if slices.ContainsFunc(role.Keys, func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
		return fmt.Errorf("key %.16s is in role %q already", envelope.KeyID(key), name)
	}
	role.Keys = append(role.Keys, key)
	role.Threshold = max(role.Threshold, 1)
	spec.Roles[name] = role
	return nil
}

// remove takes a key out of a role, or out of all for "".
func remove(spec trust.RootSpec, role, id string) error {
	id = strings.ToLower(id)
	if len(id) < leastDigits {
		return fmt.Errorf("key %q: give at least %d digits of its id", id, leastDigits)
	}
	if _, ok := spec.Roles[role]; role != "" && !ok {
		return fmt.Errorf("removing key %.16s: there is no role %q", id, role)
	}
	found := map[string]bool{}
	for name, r := range spec.Roles {
		if role != "" && role != name {
			continue
		}
		r.Keys = slices.DeleteFunc(r.Keys, func(key ed25519.PublicKey) bool {
			is := envelope.KeyID(key)
			if strings.HasPrefix(is, id) {
				found[is] = true
				return true
			}
			return false
		})
		spec.Roles[name] = r
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("removing key %.16s: no role %shas it", id, quoted(role))
	case 1:
		return nil
	}
	return fmt.Errorf("removing key %.16s: several keys begin so; give more digits", id)
}

func quoted(role string) string {
	if role == "" {
		return ""
	}
	return fmt.Sprintf("%q ", role)
}
