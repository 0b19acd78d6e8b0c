package bounds_test

import (
	"fmt"
	"testing"

	"phase/appliance/network/bounds"
)

func Example() {
	b := bounds.New[string](3, 2)
	fmt.Println(b.Enter("a"), b.Enter("a"), b.Enter("a"), b.Enter("b"), b.Enter("c"))
	b.Leave("a")
	fmt.Println(b.Enter("c"))
	// Output:
	// true true false true false
	// true
}

func TestAllGoAndAllComeAgain(t *testing.T) {
	b := bounds.New[string](10, 1)
	for round := range 3 {
		for i := range 10 {
			if !b.Enter(fmt.Sprint(i)) {
				t.Errorf("round %d: no place for %d", round, i)
			}
		}
		if b.Enter("late") {
			t.Errorf("round %d: one too many", round)
		}
		for i := range 10 {
			b.Leave(fmt.Sprint(i))
		}
	}
}

// TestClient: addresses that one machine can have at will count as one.
func TestClient(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:9": "192.0.2.1", "[2001:db8::1]:1": "2001:db8::/64", "[2001:db8::2]:1": "2001:db8::/64",
		"[fe80::1%eth0]:1": "fe80::1", "[fe80::2%eth0]:1": "fe80::2", "@": "", "": "",
	} {
		if got := bounds.Client(remote); got != want {
			t.Errorf("Client(%q) = %q, want %q", remote, got, want)
		}
	}
}
