package images

import (
	"slices"
	"strings"

	"phase/appliance/base/program"
	"phase/appliance/release/diskimage"
)

// deviceSettings are flags for the settings that most sticks get.
type deviceSettings struct {
	Set       []string `short:"s" help:"A line of phase.conf, such as phase.update=off; may be repeated. Settings replace those of the image." placeholder:"KEY=VALUE" sep:"none"`
	Mode      string   `help:"phase.mode: internet, local or private." placeholder:"MODE"`
	Channel   string   `help:"phase.channel: stable, testing or nightly." placeholder:"CHANNEL"`
	IP        string   `name:"ip" help:"phase.ip: dhcp, or a static address, with router and name server if there are any." placeholder:"ADDRESS/BITS[,ROUTER[,DNS]]"`
	Bootstrap []string `sep:"none" help:"phase.bootstrap: the address of a peer to join the network of nodes by; may be repeated." placeholder:"MULTIADDR"`
	Admin     []string `sep:"none" help:"phase.admin: the peer id of one who may give this node orders; may be repeated." placeholder:"PEER"`
}

// conf is phase.conf as the flags want it; nil: as it is in the image.
func (d deviceSettings) conf() ([]byte, error) {
	lines := slices.Clone(d.Set)
	for _, f := range []struct{ flag, key, value string }{
		{"--mode", "phase.mode", d.Mode}, {"--channel", "phase.channel", d.Channel}, {"--ip", "phase.ip", d.IP},
		{"--bootstrap", "phase.bootstrap", strings.Join(d.Bootstrap, ",")}, {"--admin", "phase.admin", strings.Join(d.Admin, ",")},
	} {
		if f.value == "" {
			continue
		}
		for _, line := range d.Set {
			if strings.HasPrefix(strings.TrimSpace(line), f.key+"=") {
				return nil, program.Usagef("%s %s and --set %s are two answers to one question: leave one out", f.flag, f.value, line)
			}
		}
		lines = append(lines, f.key+"="+f.value)
	}
	if lines == nil {
		return nil, nil
	}
	conf, err := diskimage.Conf(lines)
	if err != nil {
		return nil, program.Usagef("settings: %w", err)
	}
	return conf, nil
}
