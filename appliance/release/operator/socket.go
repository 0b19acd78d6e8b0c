package operator

import (
	"path/filepath"

	"phase/appliance/base/statefile"
)

// Socket is where the program update listens on a node.
const Socket = "/run/phase/update/update.sock"

// SocketIn is the same where the state files are in another folder than
// /run/phase. Its own folder is for those who may ask.
func SocketIn(state string) string {
	return filepath.Join(statefile.UpdateFolder(state), filepath.Base(Socket))
}
