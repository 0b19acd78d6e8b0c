package plasmd

import (
	"fmt"
	"os"

	"phase/appliance/base/identity"
	"phase/appliance/daemon/places"
)

// effectiveUser is who runs this.
var effectiveUser = os.Geteuid

func place(what, ofRoot, variable string, below ...string) (string, error) {
	return places.Folder(effectiveUser(), what, ofRoot, variable, below...)
}

func configPath() (string, error) { return places.Config(effectiveUser()) }
func dataDir() (string, error)    { return places.Data(effectiveUser()) }
func socketPath() (string, error) { return places.Socket(effectiveUser()) }
func askedPath() (string, error)  { return places.Asked(effectiveUser(), places.Service) }

// laptopIdentity is the identity of a user who runs plasmd without a daemon.
func laptopIdentity() (identity.Identity, error) {
	dir, err := dataDir()
	if err != nil {
		return identity.Identity{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return identity.Identity{}, fmt.Errorf("keeping an identity: %w", err)
	}
	return identity.Load(dir)
}
