package strictjson_test

import (
	"fmt"

	"phase/appliance/base/strictjson"
)

func ExampleUnmarshal() {
	var limits struct {
		Memory int `json:"memory"`
	}
	for _, text := range []string{`{"memory": 64}`, `{"memory": 64, "memory": 1}`, `{"Memory": 64}`, `{"memory": "64"}`} {
		limits.Memory = 0
		fmt.Println(strictjson.Unmarshal([]byte(text), &limits), limits.Memory)
	}
	fmt.Println(strictjson.Unmarshal([]byte(`{"cpu": 1}`), &limits, strictjson.RejectUnknown))
	// Output:
	// <nil> 64
	// duplicate object member name "memory" 0
	// a name differs from a known one only in case 0
	// memory: is a text, not a whole number 0
	// the name "cpu" is not known
}
