// Command hang is the first program of a release that never gets anywhere.
package main

import "time"

func main() {
	for {
		<-time.After(time.Hour)
	}
}
