package settings

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"phase/appliance/base/names"
	"phase/appliance/base/syslog"
)

// internal keys carry facts over a jump; only a command line may hold them.
var internal = map[string]bool{"phase.trial": true, "phase.disk": true, "phase.place": true}

// key reads one value into the options. It returns what is wrong with a value
// it cannot use, after making the options as strict as any meaning that value
// can have had.
type key func(o *Options, value string) error

var keys = map[string]key{
	"phase.mode": func(o *Options, v string) error {
		switch m := Mode(v); m {
		case Internet, Local, Private:
			o.Mode = m
			return nil
		}
		// Somebody wanted to be more careful than the default and we do not
		// know how much. Local sends nothing beyond the LAN and still lets the
		// owner read this problem in /status, which private would not.
		o.Mode = Local
		return fmt.Errorf("the modes are internet, local and private; local holds")
	},
	"phase.channel": func(o *Options, v string) error {
		channel, err := names.ParseChannel(v)
		if err != nil {
			o.Channel = "stable"
			return fmt.Errorf("the channels are %s; stable holds", strings.Join(names.Channels, ", "))
		}
		o.Channel = channel
		return nil
	},
	"phase.provider": func(o *Options, v string) error {
		provider, err := parseProvider(v)
		if err != nil {
			return fmt.Errorf("%w; it is not asked", err)
		}
		if slices.Contains(o.Provider, provider) {
			return nil
		}
		if len(o.Provider) == maxList {
			return fmt.Errorf("more than %d providers; the first %d hold", maxList, maxList)
		}
		o.Provider = append(o.Provider, provider)
		return nil
	},
	"phase.cache": func(o *Options, v string) (err error) {
		o.Cache, err = parseSwitch(v, false)
		return err
	},
	"phase.nowrite": func(o *Options, v string) (err error) {
		o.NoWrite, err = parseSwitch(v, true)
		return err
	},
	"phase.update": func(o *Options, v string) (err error) {
		o.Update, err = parseSwitch(v, true)
		return err
	},
	"phase.mirror": func(o *Options, v string) error {
		o.Mirror = nil
		for _, a := range strings.Split(v, ",") {
			arch, err := names.ParseArch(a)
			if err != nil {
				o.Mirror = nil
				return fmt.Errorf("want arches with a comma between them (%s); nothing is mirrored", strings.Join(names.Arches, ", "))
			}
			if !slices.Contains(o.Mirror, arch) {
				o.Mirror = append(o.Mirror, arch)
			}
		}
		return nil
	},
	"phase.bootstrap": func(o *Options, v string) error {
		for _, a := range strings.Split(v, ",") {
			if !strings.HasPrefix(a, "/") || len(o.Bootstrap) == maxList {
				return fmt.Errorf("want at most %d multiaddrs with a comma between them (/ip4/192.0.2.1/udp/7420/quic-v1/p2p/…)", maxList)
			}
			o.Bootstrap = append(o.Bootstrap, a)
		}
		return nil
	},
	"phase.accept": func(o *Options, v string) error {
		if o.Accept = ""; v != "none" && v != "all" && !arePeers(v) {
			return fmt.Errorf("want none, all, or peer ids with a comma between them; none holds")
		}
		o.Accept = v
		return nil
	},
	"phase.admin": func(o *Options, v string) error {
		if o.Admin = Nobody; v != Nobody && !arePeers(v) {
			return fmt.Errorf("want none, or peer ids with a comma between them; nobody may give orders")
		}
		o.Admin = v
		return nil
	},
	"phase.canary": func(o *Options, v string) error {
		if o.Canary = ""; !arePeers(v) {
			return fmt.Errorf("want peer ids with a comma between them; nobody's failures hold a release back but those of the admins")
		}
		o.Canary = v
		return nil
	},
	"phase.window": func(o *Options, v string) error {
		o.Window = Never
		if _, err := ParseWindow(v); err != nil {
			return fmt.Errorf("%w; no release is taken by itself", err)
		}
		o.Window = v
		return nil
	},
	"phase.require_watchdog": func(o *Options, v string) (err error) {
		o.RequireWatchdog, err = parseSwitch(v, true)
		return err
	},
	"phase.ip": func(o *Options, v string) error {
		ip, err := ParseIP(v)
		if err != nil {
			return fmt.Errorf("%w; dhcp holds", err)
		}
		o.IP = ip
		return nil
	},
	"phase.menu": func(o *Options, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 3600 {
			return fmt.Errorf("want a number of seconds from 0 to 3600; nothing is asked")
		}
		o.Menu = n
		return nil
	},
	"phase.syslog": func(o *Options, v string) error {
		o.Syslog = ""
		if _, err := syslog.ParseTarget(v); err != nil {
			return fmt.Errorf("%w; the log is sent nowhere", err)
		}
		o.Syslog = v
		return nil
	},
	"phase.trial": func(o *Options, v string) error {
		if _, err := names.ParseDigest(v); err != nil {
			return fmt.Errorf("want sha256: and 64 lower-case hexadecimal digits; this boot counts as no trial")
		}
		o.Trial = v
		return nil
	},
	"phase.disk": func(o *Options, v string) error {
		if !isDisk(v) {
			return fmt.Errorf("want PARTUUID=… or /dev/…; no disk is used")
		}
		o.Disk = v
		return nil
	},
	"phase.place": func(o *Options, v string) error {
		if len(v) != 16 || strings.Trim(v, "0123456789abcdef") != "" {
			return fmt.Errorf("want 16 lower-case hexadecimal digits; any disk with the right identifier is used")
		}
		o.Place = v
		return nil
	},
}

// parseProvider returns a provider's URL without what it may not have: user,
// query, fragment, and the slash at its end.
func parseProvider(v string) (string, error) {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("want a URL like http://192.0.2.1:8080")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", fmt.Errorf("want a URL without user, query or fragment")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return "", fmt.Errorf("%q is no port", p)
		}
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func parseSwitch(v string, safe bool) (bool, error) {
	switch v {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	word := "off"
	if safe {
		word = "on"
	}
	return safe, fmt.Errorf("want on or off; %s holds", word)
}

// Nobody is the value of phase.admin that admits no one.
const Nobody = "none"

// arePeers says whether a value is peer ids with a comma between them, at most
// maxList.
func arePeers(v string) bool {
	list := strings.Split(v, ",")
	return len(list) <= maxList && !slices.ContainsFunc(list, func(id string) bool { return !isPeer(id) })
}

// isPeer says whether a word has the form of a node's peer id; plasmd, which
// uses it, decodes it.
func isPeer(v string) bool {
	const letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	return strings.HasPrefix(v, "12D3KooW") && len(v) == 52 && strings.Trim(v, letters) == ""
}

// isDisk accepts the two forms of the kernel's root= that name a disk which
// can be found again, and nothing that could climb out of /dev.
func isDisk(v string) bool {
	name, ok := strings.CutPrefix(v, "PARTUUID=")
	if !ok {
		name, ok = strings.CutPrefix(v, "/dev/")
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return ok && name != "" && len(name) <= 64 && strings.Trim(name, letters) == ""
}
