// Package bucket names the sizes by which nodes are found in the DHT:
// phase-cap/1/<arch>/c<cores>/m<MiB>, in powers of two. It is pure. A name says
// that a node may fit; its capability record decides.
package bucket

import (
	"fmt"
	"math/bits"

	"phase/appliance/base/names"
)

// The sizes that are told apart: beyond them all nodes are alike, for no job may
// ask for more, and few need less.
const (
	mostCores     = 64
	mostMemoryMB  = 4096
	leastMemoryMB = 64
)

func name(arch string, cores, memoryMB int) string {
	return fmt.Sprintf("phase-cap/1/%s/c%d/m%d", arch, cores, memoryMB)
}

// floor is the largest power of two that is at most n, from least to most.
func floor(n, least, most int) int { return 1 << (bits.Len(uint(min(max(n, least), most))) - 1) }

// Of returns the names under which a node is found that gives jobs so many cores
// and MiB: for each power of two of cores that it has, one with its memory
// rounded down to a power of two. They are at most seven.
func Of(arch string, cores, memoryMB int) (list []string) {
	memory := floor(memoryMB, leastMemoryMB, mostMemoryMB)
	for c := 1; c <= min(cores, mostCores); c *= 2 {
		list = append(list, name(arch, c, memory))
	}
	return list
}

// For returns the names under which every node is found, among others, that has
// what a job asks for; arch "" is any. They are at most seven for each arch,
// those of larger nodes last.
func For(arch string, cores, memoryMB int) (list []string) {
	arches := names.Arches
	if arch != "" {
		arches = []string{arch}
	}
	for m := floor(memoryMB, leastMemoryMB, mostMemoryMB); m <= mostMemoryMB; m *= 2 {
		for _, a := range arches {
			list = append(list, name(a, floor(cores, 1, mostCores), m))
		}
	}
	return list
}
