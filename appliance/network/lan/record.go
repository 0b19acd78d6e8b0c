package lan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// ttl is what every record of ours carries, in seconds: 120 is what RFC 6762
// §10 gives records that hold a host's name. The longer life it allows the
// others would keep a machine that lost power in everyone's list for an hour.
const ttl = 120

// cacheFlush is the top bit of a record's class in multicast DNS, RFC 6762
// §10.2: the records of this name and type are these and no others.
const cacheFlush = 1 << 15

const servicesMeta = "_services._dns-sd._udp.local."

// softPacket is how full a message is made before the next is begun, so that
// it fits an Ethernet frame with IPv6 and UDP headers.
const softPacket = 1400

// maxRecords is how many records of a message are read.
const maxRecords = 256

// parse reads a message, refusing what no responder sends.
func parse(data []byte) (*dns.Msg, error) {
	if len(data) > maxPacket {
		return nil, fmt.Errorf("multicast DNS message of %d bytes, at most %d are read", len(data), maxPacket)
	}
	// The counts stand in the header: they are looked at before anything is
	// unpacked.
	if len(data) < 12 {
		return nil, errors.New("multicast DNS message without a header")
	}
	records := 0
	for i := 4; i < 12; i += 2 {
		records += int(data[i])<<8 | int(data[i+1])
	}
	if records > maxRecords {
		return nil, fmt.Errorf("multicast DNS message of %d records, at most %d are read", records, maxRecords)
	}
	msg := new(dns.Msg)
	if err := msg.Unpack(data); err != nil {
		return nil, fmt.Errorf("reading a multicast DNS message: %w", err)
	}
	if msg.Opcode != dns.OpcodeQuery || msg.Rcode != dns.RcodeSuccess {
		return nil, errors.New("multicast DNS message with an opcode or error")
	}
	return msg, nil
}

// isLabel says whether text is letters, digits and inner hyphens, at most 63
// (RFC 1123, section 2.1). By hand: the regular expression for it would be
// compiled at each start of each program.
func isLabel(text string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return len(text) > 0 && len(text) <= 63 && strings.Trim(text, letters) == "" && strings.Trim(text, "-") == text
}

// instanceLabel is the DNS-SD instance of the i-th release line. The first,
// which is the one the node runs, has the node's bare name; DNS-SD wants the
// names of the others to differ, so they add what they are.
func instanceLabel(name string, i int, inst Instance) string {
	if i == 0 {
		return name
	}
	return name + "-" + inst.Channel + "-" + strings.ReplaceAll(inst.Arch, "_", "-")
}

// checkConfig refuses what cannot be said in DNS-SD.
func checkConfig(c Config) error {
	if c.Port == 0 && len(c.Instances) > 0 {
		return errors.New("announcing: the HTTP port is missing")
	}
	if !isLabel(c.Name) {
		return fmt.Errorf("announcing: %q cannot be a host name: use letters, digits and inner hyphens, at most 63", c.Name)
	}
	return checkInstances(c.Name, c.Instances)
}

func checkInstances(name string, instances []Instance) error {
	if len(instances) > maxInstances {
		return fmt.Errorf("announcing: %d release lines, at most %d can be announced", len(instances), maxInstances)
	}
	seen := make(map[string]bool)
	for i, inst := range instances {
		label := instanceLabel(name, i, inst)
		if !isLabel(label) {
			return fmt.Errorf("announcing: %q cannot be an instance name", label)
		}
		if seen[label] {
			return fmt.Errorf("announcing: %s for %s is given twice", inst.Channel, inst.Arch)
		}
		seen[label] = true
	}
	return nil
}

// instanceRecords are the records of one release line. life is ttl, or 0 to
// take them back.
func instanceRecords(c Config, i int, inst Instance, life uint32) []dns.RR {
	full := instanceLabel(c.Name, i, inst) + "." + Service
	header := func(name string, kind, class uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: class, Ttl: life}
	}
	return []dns.RR{
		&dns.PTR{Hdr: header(Service, dns.TypePTR, dns.ClassINET), Ptr: full},
		&dns.SRV{Hdr: header(full, dns.TypeSRV, dns.ClassINET|cacheFlush), Port: c.Port, Target: c.Name + ".local."},
		&dns.TXT{Hdr: header(full, dns.TypeTXT, dns.ClassINET|cacheFlush), Txt: []string{
			"channel=" + inst.Channel,
			"arch=" + inst.Arch,
			"version=" + strconv.FormatUint(inst.Version, 10),
			"http_port=" + strconv.Itoa(int(c.Port)),
			"peer=" + c.Peer,
			"fleet=" + c.Fleet,
		}},
	}
}

// peerRecords say that the node takes part in the network of nodes.
func peerRecords(c Config, life uint32) []dns.RR {
	full := c.Name + "." + PeerService
	header := func(name string, kind, class uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: class, Ttl: life}
	}
	return []dns.RR{
		&dns.PTR{Hdr: header(PeerService, dns.TypePTR, dns.ClassINET), Ptr: full},
		&dns.SRV{Hdr: header(full, dns.TypeSRV, dns.ClassINET|cacheFlush), Port: c.PeerPort, Target: c.Name + ".local."},
		&dns.TXT{Hdr: header(full, dns.TypeTXT, dns.ClassINET|cacheFlush), Txt: []string{"peer=" + c.Peer, "fleet=" + c.Fleet}},
	}
}

// services says which types of service there are. That answer is shared with
// every other responder of the segment and is never taken back.
func services(types ...string) (records []dns.RR) {
	for _, t := range types {
		records = append(records, &dns.PTR{Hdr: dns.RR_Header{Name: servicesMeta, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}, Ptr: t})
	}
	return records
}

// hostRecords are the addresses of one interface under the node's name.
func hostRecords(c Config, addrs []netip.Prefix, life uint32) (records []dns.RR) {
	header := func(kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: c.Name + ".local.", Rrtype: kind, Class: dns.ClassINET | cacheFlush, Ttl: life}
	}
	for _, p := range addrs {
		if a := p.Addr(); a.Is4() {
			records = append(records, &dns.A{Hdr: header(dns.TypeA), A: a.AsSlice()})
		} else {
			records = append(records, &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	return records
}

// announcements are the messages that say everything about a node on one
// interface, each small enough for a frame and each complete in itself: an
// instance travels with its host's addresses. Asked for any part, a node says
// it all, so that one answer is enough.
func announcements(c Config, addrs []netip.Prefix, life uint32) (messages []*dns.Msg) {
	var msg *dns.Msg
	begin := func() {
		msg = &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
		msg.Answer = hostRecords(c, addrs, life)
		messages = append(messages, msg)
	}
	if c.PeerPort != 0 {
		begin()
		msg.Answer = append(msg.Answer, peerRecords(c, life)...)
		if life > 0 {
			msg.Answer = append(msg.Answer, services(PeerService)...)
		}
	}
	for i, inst := range c.Instances {
		records := instanceRecords(c, i, inst, life)
		if i == 0 {
			begin()
			if life > 0 {
				msg.Answer = append(msg.Answer, services(Service)...)
			}
		}
		before := msg.Answer
		msg.Answer = append(msg.Answer, records...)
		if msg.Len() > softPacket && i > 0 {
			msg.Answer = before
			begin()
			msg.Answer = append(msg.Answer, records...)
		}
	}
	return messages
}

// asked says whether a query wants anything of what messages say that the
// asker does not already know, RFC 6762 §7.1.
func asked(query *dns.Msg, messages []*dns.Msg) bool {
	for _, q := range query.Question {
		for _, m := range messages {
			for _, rr := range m.Answer {
				if matches(q, rr) && !knows(query.Answer, rr) {
					return true
				}
			}
		}
	}
	return false
}

func matches(q dns.Question, rr dns.RR) bool {
	h := rr.Header()
	class := q.Qclass &^ cacheFlush // in a question the bit asks for a unicast answer
	return (class == dns.ClassINET || class == dns.ClassANY) &&
		(q.Qtype == h.Rrtype || q.Qtype == dns.TypeANY) && strings.EqualFold(q.Name, h.Name)
}

func knows(known []dns.RR, rr dns.RR) bool {
	return slices.ContainsFunc(known, func(k dns.RR) bool {
		return k.Header().Ttl >= rr.Header().Ttl/2 && dns.IsDuplicate(plain(k), plain(rr))
	})
}

// plain is a record without the cache-flush bit in its class.
func plain(rr dns.RR) dns.RR {
	if rr.Header().Class&cacheFlush == 0 {
		return rr
	}
	c := dns.Copy(rr)
	c.Header().Class &^= cacheFlush
	return c
}

// oneShot is the unicast answer to a resolver that is no multicast DNS peer
// (it asked from another port), RFC 6762 §6.7: id and question repeated, short
// lives, no cache-flush bit.
func oneShot(query *dns.Msg, messages []*dns.Msg) *dns.Msg {
	answer := &dns.Msg{Compress: true}
	answer.SetReply(query)
	answer.Authoritative = true
	answer.RecursionDesired = false
	for _, m := range messages {
		for _, rr := range m.Answer {
			rr = dns.Copy(rr)
			rr.Header().Class &^= cacheFlush
			rr.Header().Ttl = min(rr.Header().Ttl, 10)
			if slices.ContainsFunc(query.Question, func(q dns.Question) bool { return matches(q, rr) }) {
				answer.Answer = append(answer.Answer, rr)
			} else {
				answer.Extra = append(answer.Extra, rr)
			}
		}
	}
	answer.Truncate(softPacket)
	return answer
}
