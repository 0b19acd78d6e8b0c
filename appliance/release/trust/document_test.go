package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
)

// Other documents count by the same keys as the releases of their channel.
func TestVerifyDocument(t *testing.T) {
	key := func(seed byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	}
	half := func(keys ...ed25519.PrivateKey) (list []ed25519.PublicKey) {
		for _, k := range keys {
			list = append(list, k.Public().(ed25519.PublicKey))
		}
		return list
	}
	boss, a, b, nightly, stranger := key(1), key(2), key(3), key(4), key(5)
	data, err := trust.SignRoot(trust.RootSpec{Version: 1, Expires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Roles: map[string]trust.RoleSpec{
		trust.RoleRoot:                 {Keys: half(boss), Threshold: 1},
		trust.RoleRelease:              {Keys: half(a, b), Threshold: 2},
		trust.RoleRelease + "/nightly": {Keys: half(nightly), Threshold: 1},
	}}, boss)
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	const kind = "text/x-channel"
	read := 0
	channel := func(payload []byte) (string, error) {
		if read++; len(payload) == 0 {
			return "", errors.New("no channel")
		}
		return string(payload), nil
	}
	for name, c := range map[string]struct {
		kind, payload string
		keys          []ed25519.PrivateKey
		code          refusal.Code
		read          int
	}{
		"both":                 {kind, "stable", []ed25519.PrivateKey{a, b}, "", 1},
		"one of two":           {kind, "stable", []ed25519.PrivateKey{a}, refusal.Threshold, 0},
		"one of two, twice":    {kind, "stable", []ed25519.PrivateKey{a, a}, refusal.Threshold, 0},
		"nobody":               {kind, "stable", nil, refusal.Signature, 0},
		"a stranger":           {kind, "stable", []ed25519.PrivateKey{stranger}, refusal.Signature, 0},
		"the root key":         {kind, "stable", []ed25519.PrivateKey{boss}, refusal.Signature, 0},
		"nightly, by its role": {kind, "nightly", []ed25519.PrivateKey{nightly}, "", 1},
		"nightly, by others":   {kind, "nightly", []ed25519.PrivateKey{a, b}, refusal.Signature, 1},
		"stable, by nightly's": {kind, "stable", []ed25519.PrivateKey{nightly}, refusal.Signature, 1},
		"of another type":      {"text/plain", "stable", []ed25519.PrivateKey{a, b}, refusal.Format, 0},
		"that cannot be read":  {kind, "", []ed25519.PrivateKey{a, b}, refusal.Format, 1},
	} {
		read = 0
		data, err := envelope.Unsigned(c.kind, []byte(c.payload))
		if len(c.keys) > 0 {
			data, err = envelope.Sign(c.kind, []byte(c.payload), c.keys...)
		}
		if err != nil {
			t.Fatal(err)
		}
		payload, err := root.VerifyDocument(data, kind, channel)
		if refusal.CodeOf(err) != c.code || read != c.read || err == nil && string(payload) != c.payload {
			t.Errorf("%s: %q, %v, read %d times", name, payload, err, read)
		}
	}
	if _, err := root.VerifyDocument([]byte("{"), kind, channel); refusal.CodeOf(err) != refusal.Format {
		t.Errorf("no envelope: %v", err)
	}
}
