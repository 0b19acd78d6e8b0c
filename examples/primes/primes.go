// Command primes counts the prime numbers below its argument (one million
// without one) with a sieve, and prints the count and the largest: work for a
// processor, with an answer anyone can check.
package main

import (
	"os"
	"strconv"
)

// limitMax keeps the sieve, one byte a number, within the default memory.
const limitMax = 100_000_000

func main() {
	limit := 1_000_000
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 0 || n > limitMax || len(os.Args) > 2 {
			os.Stderr.WriteString("primes: usage: primes [LIMIT], a number up to " + strconv.Itoa(limitMax) + "\n")
			os.Exit(2)
		}
		limit = n
	}
	count, largest := primes(limit)
	os.Stdout.WriteString(strconv.Itoa(count) + " primes below " + strconv.Itoa(limit) + ", the largest " + strconv.Itoa(largest) + "\n")
}

// primes returns how many primes there are below limit, and the largest of
// them, 0 when there is none.
func primes(limit int) (count, largest int) {
	composite := make([]bool, max(limit, 0))
	for n := 2; n < limit; n++ {
		if composite[n] {
			continue
		}
		count, largest = count+1, n
		for multiple := n * n; multiple < limit; multiple += n {
			composite[multiple] = true
		}
	}
	return count, largest
}
