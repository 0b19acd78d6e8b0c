// Command cpu works for a while on one of a few problems and prints the result,
// to compare runtimes: cpu sha256|floats|sort|sieve.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
)

func main() {
	work := map[string]func() any{"sha256": hash, "floats": floats, "sort": sorting, "sieve": sieve}[os.Args[1]]
	fmt.Println(work())
}

// hash walks a chain of digests.
func hash() any {
	block := make([]byte, 64<<10)
	for range 300 {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
	return fmt.Sprintf("%x", block[:8])
}

// floats adds up a plane of complex numbers squared again and again.
func floats() any {
	total := 0
	for y := range 300 {
		for x := range 300 {
			cr, ci := float64(x)/150-1.5, float64(y)/150-1
			zr, zi := 0.0, 0.0
			for range 400 {
				zr, zi = zr*zr-zi*zi+cr, 2*zr*zi+ci
				if zr*zr+zi*zi > 4 {
					break
				}
				total++
			}
		}
	}
	return total
}

// sorting sorts numbers in no order.
func sorting() any {
	numbers := make([]uint32, 1<<20)
	state := uint32(1)
	for i := range numbers {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		numbers[i] = state
	}
	slices.Sort(numbers)
	return numbers[len(numbers)/2]
}

// sieve counts primes.
func sieve() any {
	composite := make([]bool, 8<<20)
	count := 0
	for i := 2; i < len(composite); i++ {
		if composite[i] {
			continue
		}
		count++
		for j := 2 * i; j < len(composite); j += i {
			composite[j] = true
		}
	}
	return count
}
