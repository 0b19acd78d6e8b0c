package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/release/trial"
)

// expects is what this machine has now, and the next release must bring back.
// What cannot be found out is not expected. Before the services run nothing can:
// then it is what was expected at the last try of that release, and at its first try
// what this machine had when it last ran.
func (n *node) expects(next names.Digest) trial.Expect {
	if n.services.begun() {
		peers, _ := peersOf(plasmdAt)
		return trial.Expect{Network: networked(runDir), Peers: peers > 0}
	}
	if e, tried := n.trials.before(next); tried {
		return e
	}
	// Its peers may have gone with the same power cut, and for good.
	return trial.Expect{Network: n.had.network()}
}

// hadFile says whether this machine had a network when it last ran.
const hadFile = "had.json"

// had keeps that on the disk.
type had struct {
	folder string // empty where nothing is kept
	seen   bool   // a network, in this boot
}

type hadContent struct {
	Network bool `json:"network"`
}

// network says whether the machine had one when it last ran; false where that is
// not known.
func (h *had) network() bool {
	var c hadContent
	return h.folder != "" && statefile.Read(h.folder, hadFile, &c) == nil && c.Network
}

// note keeps whether the machine has a network. That it had one is forgotten once
// this boot has lasted without.
func (h *had) note(now, lasted bool) error {
	if h.folder == "" {
		return nil
	}
	h.seen = h.seen || now
	if before := h.network(); h.seen == before || !h.seen && !lasted {
		return nil
	}
	if err := statefile.Write(h.folder, hadFile, hadContent{h.seen}); err != nil {
		h.folder = "" // said once
		return fmt.Errorf("keeping what this machine has: %w", err)
	}
	return nil
}

// missing says what keeps the running release from being good, in words.
func (n *node) missing(expect trial.Expect) string {
	if name := n.services.down(); name != "" {
		return name + " does not run"
	}
	if n.data != "" {
		if _, err := os.ReadDir(filepath.Dir(dataDir)); err != nil {
			return fmt.Sprintf("the persistent partition cannot be read (%v)", err)
		}
	}
	if expect.Network && !networked(runDir) {
		return "there is no network address, and there was one before"
	}
	if expect.Peers {
		peers, err := peersOf(plasmdAt)
		if err != nil {
			return fmt.Sprintf("plasmd does not say which peers it has (%v)", err)
		}
		if peers == 0 {
			return "no peer is reached, and there was one before"
		}
	}
	return ""
}

// networked says whether an interface has an address that net was given: by DHCP,
// by a router or by the owner.
func networked(dir string) bool {
	var state statefile.Net
	if err := statefile.Read(dir, statefile.NetFile, &state); err != nil {
		return false
	}
	for _, i := range state.Interfaces {
		for _, text := range i.Addresses {
			if a, err := netip.ParsePrefix(text); err == nil && !a.Addr().IsLinkLocalUnicast() && !a.Addr().IsLoopback() {
				return true
			}
		}
	}
	return false
}

// peersOf asks plasmd how many peers it is connected to.
func peersOf(address string) (int, error) {
	status, body, err := askPlasmd(address, "/status", probeTime)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return 0, err
	}
	var answer struct {
		Network struct {
			Peers int `json:"peers"`
		} `json:"network"`
	}
	err = strictjson.Unmarshal(bytes.TrimSpace(body), &answer, strictjson.Limit(maxAnswer))
	return answer.Network.Peers, err
}
