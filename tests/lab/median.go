package lab

import (
	"cmp"
	"slices"
	"time"
)

// Median of what all of them took. That of an even number is the mean of the two in the
// middle.
func Median[T any](all []T, took func(T) time.Duration) time.Duration {
	var list []time.Duration
	for _, one := range all {
		list = append(list, took(one))
	}
	slices.SortFunc(list, cmp.Compare)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}
