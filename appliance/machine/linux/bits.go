package linux

import (
	"strconv"
	"strings"
)

// bitSet reads a bit map as sysfs writes it: words of 64 bits in hexadecimal,
// the highest first.
func bitSet(words string, bit int) bool {
	fields := strings.Fields(words)
	i := len(fields) - 1 - bit/64
	if i < 0 {
		return false
	}
	word, err := strconv.ParseUint(fields[i], 16, 64)
	return err == nil && word&(1<<(bit%64)) != 0
}
