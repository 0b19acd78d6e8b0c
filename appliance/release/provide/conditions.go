package provide

import "strings"

// matches says whether a list of entity tags, or "*", holds one that is tag
// (RFC 9110, section 8.8.3.2). Tag is strong; weak says whether W/"x" counts
// as "x". A list that is not well formed ends where it goes wrong.
func matches(list, tag string, weak bool) bool {
	list = strings.Trim(list, " \t")
	if list == "*" {
		return true
	}
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		isWeak := strings.HasPrefix(list, "W/")
		rest := strings.TrimPrefix(list, "W/")
		if !strings.HasPrefix(rest, `"`) {
			return false
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			return false
		}
		if rest[:end+2] == tag && (weak || !isWeak) {
			return true
		}
		list = strings.TrimLeft(rest[end+2:], " \t")
		if list != "" && list[0] != ',' {
			return false
		}
	}
	return false
}
