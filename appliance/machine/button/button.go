// Package button watches the power button of this machine.
package button

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The codes of linux/input-event-codes.h, and struct input_event of linux/input.h
// on 64-bit machines: the time, u16 type, u16 code, u32 value.
const (
	evKey     = 1
	keyPower  = 116
	keyDown   = 1
	eventTime = 16
	eventSize = 24
)

// Watch calls pressed each time a power button is pressed, for as long as the
// program runs. Buttons (ACPI's, or a GPIO on a board without ACPI) are input
// devices; new ones are looked for every few seconds, since a keyboard with such
// a key may be plugged in at any time.
func Watch(pressed func()) {
	ended := make(chan string)
	reading := map[string]bool{}
	again := time.Tick(5 * time.Second)
	for {
		devices, _ := filepath.Glob("/dev/input/event*") // the pattern is well formed
		for _, device := range devices {
			if !reading[device] && hasPowerKey(device) {
				reading[device] = true
				go func() {
					watchDevice(device, pressed)
					ended <- device
				}()
			}
		}
		select {
		case device := <-ended:
			delete(reading, device)
		case <-again:
		}
	}
}

// hasPowerKey looks into the capabilities that sysfs shows for an input device:
// words of 64 bits, the highest first.
func hasPowerKey(device string) bool {
	data, err := os.ReadFile("/sys/class/input/" + filepath.Base(device) + "/device/capabilities/key")
	return err == nil && bitSet(string(data), keyPower)
}

func watchDevice(device string, pressed func()) {
	f, err := os.Open(device)
	if err != nil {
		return
	}
	defer f.Close()
	buf := make([]byte, 16*eventSize)
	for {
		n, err := f.Read(buf)
		if err != nil {
			time.Sleep(time.Second) // the device is gone; do not come back to it in a hot loop
			return
		}
		if pressedPower(buf[:n]) {
			pressed()
		}
	}
}

// pressedPower says whether events, as read from an input device, hold a press
// of the power key.
func pressedPower(events []byte) bool {
	for ; len(events) >= eventSize; events = events[eventSize:] {
		e := events[eventTime:eventSize]
		if binary.NativeEndian.Uint16(e) == evKey && binary.NativeEndian.Uint16(e[2:]) == keyPower &&
			binary.NativeEndian.Uint32(e[4:]) == keyDown {
			return true
		}
	}
	return false
}

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
