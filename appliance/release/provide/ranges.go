package provide

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// span is the bytes [first,last] of a representation.
type span struct{ first, last int64 }

func (s span) length() int64 { return s.last - s.first + 1 }

// maxRanges is how many ranges of one request are answered; RFC 9110, section
// 14.2, lets a server ignore "a set of many small ranges".
const maxRanges = 64

// parseRange reads a Range header for a representation of size bytes (RFC 9110,
// section 14.1.2). ok is false when the header is to be ignored: an unknown
// unit, a set that is not valid, more ranges than maxRanges. With ok, no spans
// means that none can be satisfied.
func parseRange(header string, size int64) (spans []span, ok bool) {
	unit, set, found := strings.Cut(header, "=")
	if !found || !strings.EqualFold(unit, "bytes") || size == 0 {
		return nil, false
	}
	count := 0
	for part := range strings.SplitSeq(set, ",") {
		part = strings.Trim(part, " \t")
		if part == "" {
			continue // section 5.6.1.2: empty list elements are to be ignored
		}
		if count++; count > maxRanges {
			return nil, false
		}
		s, valid := parseSpan(part, size)
		if !valid {
			return nil, false
		}
		if s.first < size && s.first <= s.last {
			spans = append(spans, s)
		}
	}
	if count == 0 {
		return nil, false
	}
	return merge(spans), true
}

// parseSpan reads "first-", "first-last" or "-suffix"; one that cannot be
// satisfied begins at size or beyond.
func parseSpan(text string, size int64) (span, bool) {
	from, to, found := strings.Cut(text, "-")
	if !found {
		return span{}, false
	}
	if from == "" {
		suffix, ok := position(to)
		if !ok {
			return span{}, false
		}
		return span{max(0, size-suffix), size - 1}, true
	}
	first, ok := position(from)
	if !ok {
		return span{}, false
	}
	if to == "" {
		return span{first, size - 1}, true
	}
	last, ok := position(to)
	if !ok || last < first {
		return span{}, false
	}
	return span{first, min(last, size-1)}, true
}

// position reads 1*DIGIT; what is more than an int64 holds is beyond every
// representation and becomes the largest.
func position(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// merge leaves a set as it was asked for unless more than two ranges overlap,
// which section 17.15 warns of: such a set is sorted and joined, so that no
// byte is sent twice.
func merge(spans []span) []span {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var joined []span
	overlaps := 0
	for _, s := range sorted {
		if n := len(joined); n > 0 && s.first <= joined[n-1].last {
			joined[n-1].last = max(joined[n-1].last, s.last)
			overlaps++
			continue
		}
		joined = append(joined, s)
	}
	if overlaps <= 1 {
		return spans
	}
	return joined
}
