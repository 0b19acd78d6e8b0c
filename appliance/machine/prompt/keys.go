package prompt

// Enter is the key of that name, whether a terminal sends it as CR or as LF.
const Enter = '\n'

// decoder tells the keys for characters among the bytes that a terminal sends. A
// key without a character sends several bytes, with digits among them (Delete is
// ESC [ 3 ~, ECMA-48, section 5.4), and none of those is one.
type decoder struct{ in state }

type state byte

const (
	character state = iota
	escape          // behind ESC
	sequence        // behind ESC [, until its last byte
	one             // behind ESC O, for one byte
)

// key returns the key that a byte stands for, and 0 for none.
func (d *decoder) key(b byte) byte {
	const esc = 0x1b
	was := d.in
	d.in = character
	switch {
	case b == esc:
		d.in = escape
	case was == escape && b == '[':
		d.in = sequence
	case was == escape && b == 'O':
		d.in = one
	case was == escape, was == one:
	case was == sequence && b >= ' ' && b <= '?':
		d.in = sequence
	case was == sequence:
	case b == '\r', b == '\n':
		return Enter
	case b > ' ' && b <= '~':
		return b
	}
	return 0
}
