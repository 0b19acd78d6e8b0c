package fat

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// checkName keeps to the characters every FAT reader agrees on.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 {
		return fmt.Errorf("%q is no file name", name)
	}
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune(`"*+,/:;<=>?[\]|`, r) {
			return fmt.Errorf("%q holds %q, which FAT does not take", name, r)
		}
	}
	return nil
}

// names is the 8.3 name of the folder's entry number i and, where that is not
// the whole name, the entries of the long name that go before it.
func names(name string, i int) (short [11]byte, long []byte) {
	short, exact := shortName(name, i)
	if !exact {
		long = longName(name, short)
	}
	return short, long
}

// shortName is the 8.3 name. One that differs in case alone is not exact, but found
// by readers that know no long names, as the boot ROM of a Raspberry Pi 3; the entry's
// number i keeps any other unique.
func shortName(name string, i int) (short [11]byte, exact bool) {
	upper := strings.ToUpper(name)
	base, ext, _ := strings.Cut(upper, ".")
	if base != "" && len(base) <= 8 && len(ext) <= 3 && !strings.Contains(ext, ".") {
		return [11]byte([]byte(pad(base, 8) + pad(ext, 3))), name == upper
	}
	clean := func(s string, n int) string {
		s = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return r - 'a' + 'A'
			}
			if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, s)
		return s[:min(len(s), n)]
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		base, ext = name[:dot], name[dot+1:]
	}
	tail := fmt.Sprintf("~%d", i+1)
	return [11]byte([]byte(pad(clean(base, 8-len(tail))+tail, 8) + pad(clean(ext, 3), 3))), false
}

// checksum ties the entries of a long name to the short one after them.
func checksum(short [11]byte) (sum byte) {
	for _, c := range short {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// Where the 13 UTF-16 units of a long name's entry lie in it.
var unitOffsets = [13]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}

// longName renders the entries of a long name, last piece first.
func longName(name string, short [11]byte) []byte {
	units := utf16.Encode([]rune(name))
	pieces := (len(units) + 12) / 13
	data := make([]byte, 0, pieces*entrySize)
	for p := pieces; p > 0; p-- {
		b := make([]byte, entrySize)
		b[0] = byte(p)
		if p == pieces {
			b[0] |= 0x40
		}
		b[11], b[13] = attrLongName, checksum(short)
		for i, at := range unitOffsets {
			unit := uint16(0xFFFF)
			switch n := (p-1)*13 + i; {
			case n < len(units):
				unit = units[n]
			case n == len(units):
				unit = 0
			}
			binary.LittleEndian.PutUint16(b[at:], unit)
		}
		data = append(data, b...)
	}
	return data
}
