package statefile

import (
	"fmt"
	"time"

	"phase/appliance/base/strictjson"
)

// The state files, each with one producer.
const (
	BootFile   = "boot.json"   // init
	NetFile    = "net.json"    // net
	UpdateFile = "update.json" // update
)

// Where a boot came from, as Boot.BootedFrom says it.
const (
	FromStub  = "stub"  // the release on the boot disk
	FromKexec = "kexec" // a release another kernel loaded
)

// Boot is boot.json: how this machine came up and what it holds.
type Boot struct {
	Mode string `json:"mode"`
	// Options are settings.Options as JSON, kept as text so that this package
	// need not know them.
	Options        strictjson.Raw `json:"options,omitzero"`
	OptionsUnknown []string       `json:"options_unknown"`
	BootedFrom     string         `json:"booted_from"`
	// Problems are in words, one line each.
	Problems []string `json:"problems"`
	// Watchdog is its name, or "none".
	Watchdog string `json:"watchdog"`
	// Data is plasmd's folder, empty when nothing is kept.
	Data string `json:"data"`
	Held *Held  `json:"held,omitzero"`
	// Trial is the digest of a release on its first run ("sha256:…") or empty.
	Trial   string    `json:"trial"`
	Started time.Time `json:"started"`
}

// ReadBoot reads boot.json in dir, and the options in it into options, a pointer
// to settings.Options. One that is not known is an error.
func ReadBoot(dir string, options any) (b Boot, err error) {
	if err := Read(dir, BootFile, &b); err != nil {
		return b, err
	}
	if err := strictjson.Unmarshal(b.Options, options, strictjson.RejectUnknown); err != nil {
		return b, fmt.Errorf("reading the options in %s: %w", BootFile, err)
	}
	return b, nil
}

// Held says where the running release's bytes are. A reader verifies them again.
type Held struct {
	// Manifest is the path of the envelope.
	Manifest string `json:"manifest"`
	// Artifacts are paths by artifact name. A block device holds at least the
	// artifact; its size is the manifest's.
	Artifacts map[string]string `json:"artifacts"`
}

// Net is net.json: the interfaces as they stand.
type Net struct {
	Interfaces []Interface `json:"interfaces"`
	Problems   []string    `json:"problems"`
}

// Interface is one wired interface.
type Interface struct {
	Name string `json:"name"`
	MAC  string `json:"mac"`
	Up   bool   `json:"up"`
	// Addresses in CIDR notation.
	Addresses []string `json:"addresses"`
	// Method is dhcp, link-local, static or none: where the IPv4 address
	// came from.
	Method string `json:"method"`
}

// Update is update.json: what the update program is doing and last did.
type Update struct {
	// State is idle, looking, fetching, loading, jumping or off.
	State string `json:"state"`
	// Last is nil before the first look.
	Last *Attempt `json:"last,omitzero"`
	// History holds the last few attempts, newest first; what one provider
	// did again is there once.
	History []Attempt `json:"history"`
}

// Attempt is one release that was offered, and what became of it.
type Attempt struct {
	At       time.Time `json:"at"`
	Provider string    `json:"provider"`
	// Version and Digest ("sha256:…") as far as they are known, verified.
	Version uint64 `json:"version"`
	Digest  string `json:"digest"`
	// Result is accepted, refused, failed or none.
	Result string `json:"result"`
	// Code is a refusal.Code, empty when accepted.
	Code   string `json:"code"`
	Reason string `json:"reason"`
}
