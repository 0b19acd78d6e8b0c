package main

import "testing"

func TestPrimes(t *testing.T) {
	for limit, want := range map[int][2]int{-1: {}, 0: {}, 2: {}, 3: {1, 2}, 10: {4, 7}, 100: {25, 97}, 1_000_000: {78498, 999983}} {
		if count, largest := primes(limit); [2]int{count, largest} != want {
			t.Errorf("primes(%d) = %d, %d; want %v", limit, count, largest, want)
		}
	}
}
