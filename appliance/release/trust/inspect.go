package trust

import (
	"fmt"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
)

// inspect makes every check. Its Verified is not valid yet.
func (r Root) inspect(data []byte, p Policy, network bool) (Verified, []Check) {
	var checks []Check
	note := func(name string, refused *refusal.Refusal, format string, args ...any) bool {
		c := Check{Name: name, OK: refused == nil, Detail: fmt.Sprintf(format, args...)}
		if refused != nil {
			c.Code, c.Detail = refused.Code, refused.Detail
		}
		checks = append(checks, c)
		return c.OK
	}

	env, refused := open(data, manifest.PayloadType)
	if !note("envelope", refused, "%d bytes", len(data)) {
		return Verified{}, checks
	}
	signers := env.SignedBy(r.keys)
	// Not a byte of the payload is parsed before some release role has signed
	// it; whether that role may speak for this channel, the payload then says.
	if refused := r.anyRelease(signers); refused != nil {
		note("signature", refused, "")
		return Verified{}, checks
	}
	m, err := manifest.Parse(env.Payload)
	if err != nil {
		note("signature", nil, "a release role of root version %d", r.version)
		note("manifest", refusal.New(refusal.Format, "%v", err), "")
		return Verified{}, checks
	}
	role := r.releaseRole(m.Channel)
	if !note("signature", r.satisfied(role, signers), "role %s of root version %d", role, r.version) {
		return Verified{}, checks
	}
	note("manifest", nil, "version %d, %s, %d artifacts", m.Version, m.Name, len(m.Artifacts))
	v := Verified{manifest: m, envelope: env.Raw(), payload: env.Payload, digest: names.Sum(env.Payload)}
	note("channel", asked(refusal.Channel, m.Channel, p.Channel), "%s", m.Channel)
	note("arch", asked(refusal.Arch, m.Arch, p.Arch), "%s", m.Arch)
	if network {
		note("root", fresh("the root", r.expires, p.Now), "version %d, until %s", r.version, rfc3339(r.expires))
		note("expires", fresh("the manifest", m.Expires, p.Now), "until %s", rfc3339(m.Expires))
		note("floor", p.floor(v), "version %d, floor %d", m.Version, p.Floor)
	}
	return v, checks
}

// anyRelease asks whether the signers are enough for any channel at all.
func (r Root) anyRelease(signers []string) *refusal.Refusal {
	var answer *refusal.Refusal
	for _, channel := range names.Channels {
		refused := r.satisfied(r.releaseRole(channel), signers)
		if refused == nil {
			return nil
		}
		// That too few have signed says more than that none has.
		if answer == nil || refused.Code == refusal.Threshold {
			answer = refused
		}
	}
	return answer
}

func asked(code refusal.Code, is, wanted string) *refusal.Refusal {
	switch {
	case wanted == Any || wanted != "" && is == wanted:
		return nil
	case wanted == "":
		return refusal.New(code, "no %s was asked for, the manifest is for %s", code, is)
	}
	return refusal.New(code, "the manifest is for %s, asked for was %s", is, wanted)
}

func fresh(what string, expires, now time.Time) *refusal.Refusal {
	switch {
	case now.IsZero():
		return refusal.New(refusal.Expired, "%s expires %s and there is no time to judge it by", what, rfc3339(expires))
	case !now.Before(expires):
		return refusal.New(refusal.Expired, "%s expired %s, and by the clock it is %s; if that is wrong, set the clock of this machine (by NTP, or in its firmware)", what, rfc3339(expires), rfc3339(now))
	}
	return nil
}

func (p Policy) floor(v Verified) *refusal.Refusal {
	switch version := v.manifest.Version; {
	case version < p.Floor:
		return refusal.New(refusal.Rollback, "version %d is below the floor %d", version, p.Floor)
	case version == p.Floor && !p.FloorDigest.IsZero() && v.digest != p.FloorDigest:
		return refusal.New(refusal.Equivocation, "version %d is %s, but %s was verified before under that version", version, v.digest, p.FloorDigest)
	}
	return nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
