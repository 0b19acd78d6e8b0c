package trust

import (
	"fmt"
	"time"
)

// Notice is how long before a document expires people are told: long enough to
// get at keys that are offline.
const Notice = 30 * 24 * time.Hour

// Ending says that a document expires within Notice, or has expired, and what to
// do; "" while there is time. what names the document.
func Ending(what string, expires, now time.Time) string {
	switch left := expires.Sub(now); {
	case left <= 0:
		return fmt.Sprintf("%s expired on %s: nothing new is taken under it, what is held still boots", what, rfc3339(expires))
	case left <= Notice:
		return fmt.Sprintf("%s expires in %d days, on %s: make the next one before", what, int(left/(24*time.Hour)), rfc3339(expires))
	}
	return ""
}
