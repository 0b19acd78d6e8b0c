package statefile

import (
	"fmt"
	"path/filepath"
	"time"

	"phase/appliance/base/strictjson"
)

// The state files, each with one producer.
const (
	BootFile   = "boot.json"   // init
	NetFile    = "net.json"    // net
	UpdateFile = "update.json" // update, in UpdateFolder
)

// UpdateFolder is where update says what it does and listens, in the folder of the
// others: it may write nothing else there.
func UpdateFolder(state string) string { return filepath.Join(state, "update") }

// IdentityFile is the node's key, in plasmd's own folder: PKCS#8 PEM, 0600.
const IdentityFile = "identity.pem" // plasmd

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
	// Steps are the parts of the start, in the order they ended in.
	Steps []Step `json:"steps,omitempty"`
}

// ServingStep is the step that ends when plasmd first answers that all is well: the
// machine serves.
const ServingStep = "plasmd gets well"

// Step is one part of the start of this machine. Both times are in seconds.
type Step struct {
	Name   string  `json:"name"`
	Begin  float64 `json:"begin"` // after the kernel started
	Length float64 `json:"length"`
}

// End is when it was over, after the kernel started.
func (s Step) End() float64 { return s.Begin + s.Length }

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
	// Unused are the network cards that have no interface.
	Unused   []Card   `json:"unused,omitempty"`
	Problems []string `json:"problems"`
}

// Card is a network card that this kernel has no driver for.
type Card struct {
	// Bus is pci, usb or vmbus, Address where on it.
	Bus     string `json:"bus"`
	Address string `json:"address"`
	// ID is who made it and what it is, four hex digits each ("15ad:07b0").
	ID string `json:"id"`
	// Name is what it is called, if it is known, and Instead what to choose in its
	// place.
	Name    string `json:"name,omitempty"`
	Instead string `json:"instead"`
}

// Interface is one wired interface.
type Interface struct {
	Name string `json:"name"`
	MAC  string `json:"mac"`
	// Driver is that of the kernel, "" for none (the end of a virtual cable).
	Driver string `json:"driver"`
	// State is refused (it is left down, a problem says why), no-carrier, starting
	// (it has no IPv4 address yet) or up, Waiting what is waited for, in words, or
	// "", and Since when both began.
	State   string    `json:"state"`
	Waiting string    `json:"waiting"`
	Since   time.Time `json:"since"`
	// Up: raised and with a carrier.
	Up bool `json:"up"`
	// MTU is of the link, by MTUFrom: card or dhcp. MTU6 is what IPv6 sends at
	// most, which a router may have said, 0 without IPv6.
	MTU     int    `json:"mtu"`
	MTUFrom string `json:"mtu_from"`
	MTU6    int    `json:"mtu6"`
	// Addresses in CIDR notation.
	Addresses []string `json:"addresses"`
	// Method is dhcp, link-local, static or none: where the IPv4 address
	// came from.
	Method string `json:"method"`
}

// Update is update.json: what the update program is doing and last did.
type Update struct {
	// Walls are those around the program.
	Walls []string `json:"walls,omitempty"`
	// State is idle, looking, fetching, loading, draining, jumping or off.
	State string `json:"state"`
	// Waiting is a release that is known and not taken by itself now.
	Waiting *Waiting `json:"waiting,omitzero"`
	// Applying is the release that somebody has asked for; once it has failed it
	// says why.
	Applying *Waiting `json:"applying,omitzero"`
	// Last is nil before the first look.
	Last *Attempt `json:"last,omitzero"`
	// Failed are the releases that did not come up on this node and are not tried
	// now, for others to see.
	Failed []Failed `json:"failed,omitempty"`
	// Damaged are the releases of the store that lack bytes: they are not started
	// until those came again.
	Damaged []Damaged `json:"damaged,omitempty"`
	// History holds the last few attempts, newest first; what one provider
	// did again is there once.
	History []Attempt `json:"history"`
}

// Waiting is a release, and why it is not taken now.
type Waiting struct {
	Version uint64 `json:"version"`
	Digest  string `json:"digest"` // sha256:…
	Why     string `json:"why"`
	// Until is when that is over; absent when nobody knows.
	Until time.Time `json:"until,omitzero"`
}

// Failed is a release that was started on this node and did not come up.
type Failed struct {
	Version uint64 `json:"version"` // 0 when it is not known
	Digest  string `json:"digest"`
	Tries   int    `json:"tries"`
	Reason  string `json:"reason"`
}

// Damaged is a release of the store that is not whole.
type Damaged struct {
	Version uint64   `json:"version"`
	Digest  string   `json:"digest"`
	Missing []string `json:"missing"` // artifacts
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
	// What is known of a release that was accepted: how long it took to fetch, the
	// version of the root that it was verified by, and who asked for it: "itself"
	// (the node), "here" (the holder of the token) or the peer id of an admin.
	Seconds float64 `json:"seconds,omitzero"`
	Root    uint64  `json:"root,omitzero"`
	By      string  `json:"by,omitempty"`
}
