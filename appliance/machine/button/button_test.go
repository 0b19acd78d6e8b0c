package button

import (
	"encoding/binary"
	"testing"
)

func TestButton(t *testing.T) {
	event := func(kind, code uint16, value uint32) []byte {
		e := make([]byte, 24)
		binary.NativeEndian.PutUint16(e[16:], kind)
		binary.NativeEndian.PutUint16(e[18:], code)
		binary.NativeEndian.PutUint32(e[20:], value)
		return e
	}
	press, release, other := event(evKey, keyPower, 1), event(evKey, keyPower, 0), event(evKey, 30, 1)
	sync := event(0, 0, 0)
	for _, c := range []struct {
		events []byte
		want   bool
	}{
		{append(append([]byte{}, press...), sync...), true},
		{append(append([]byte{}, other...), press...), true},
		{append(append([]byte{}, release...), sync...), false},
		{other, false}, {nil, false}, {press[:20], false},
	} {
		if got := pressedPower(c.events); got != c.want {
			t.Errorf("% x is a press: %v", c.events, got)
		}
	}
	// ACPI's button says "10000000000000 0": bit 116 is bit 52 of the second word.
	for words, want := range map[string]bool{"10000000000000 0": true, "0 10000000000000": false, "": false, "x 0": false, "1f 10000000000000 0": true} {
		if got := bitSet(words, keyPower); got != want {
			t.Errorf("%q has the power key: %v", words, got)
		}
	}
}
