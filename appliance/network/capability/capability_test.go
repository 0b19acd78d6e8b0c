package capability

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/identity"
	"phase/appliance/base/strictjson"
)

var (
	now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub = key.Public().(ed25519.PublicKey)
	me  = identity.PeerID(pub)
)

func sign(payloadType string, payload []byte) ([]byte, error) {
	return envelope.Sign(payloadType, payload, key)
}

func record() Record {
	return Record{
		Version: 1, PeerID: me, Arch: "x86_64", Cores: 4, MemoryMB: 2000, FreeMB: 1500, TimeoutSeconds: 3600, OutputBytes: 64 << 20,
		Runtimes: []Runtime{{"wazero", "v1.12.0", []string{"wasip1"}}}, Load: Load{1, 0, 256}, Accept: "all",
		Release: Release{42, "sha256:" + strings.Repeat("ab", 32), "stable"}, Issued: now, Expires: now.Add(Lifetime),
	}
}

func TestARecordIsSignedAndVerified(t *testing.T) {
	data, err := Sign(record(), pub, now, sign)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Verify(data, me, pub, now.Add(30*time.Second))
	if err != nil || got.Cores != 4 || got.Release.Version != 42 || got.Runtimes[0].Profiles[0] != "wasip1" || len(data) > MaxBytes/4 {
		t.Errorf("%+v, %v, %d bytes", got, err, len(data))
	}
	if _, err := Verify(data, me, pub, now.Add(-4*time.Minute)); err != nil {
		t.Errorf("by a clock that is four minutes late: %v", err)
	}
}

// Each of these is refused, and for its own reason.
func TestRecordsThatAreRefused(t *testing.T) {
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("o", ed25519.SeedSize)))
	them := identity.PeerID(other.Public().(ed25519.PublicKey))
	made := func(change func(*Record), with ed25519.PrivateKey, kind string) []byte {
		r := record()
		change(&r)
		payload, err := strictjson.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		data, err := envelope.Sign(kind, payload, with)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	same := func(*Record) {}
	for name, c := range map[string]struct {
		data []byte
		at   time.Time
		want error
		says string
	}{
		"another signer":     {made(same, other, PayloadType), now, ErrSignature, me},
		"another's record":   {made(func(r *Record) { r.PeerID = them }, key, PayloadType), now, ErrSignature, them},
		"another type":       {made(same, key, "application/vnd.in-toto+json"), now, nil, "payload type"},
		"expired":            {made(same, key, PayloadType), now.Add(Lifetime), ErrExpired, "clocks"},
		"from the future":    {made(same, key, PayloadType), now.Add(-MaxSkew - time.Second), ErrClock, "5m0s"},
		"valid for too long": {made(func(r *Record) { r.Expires = now.Add(MaxLifetime + 1) }, key, PayloadType), now, nil, "1h"},
		"expires before":     {made(func(r *Record) { r.Expires = r.Issued }, key, PayloadType), now, nil, "expire"},
		"never issued":       {made(func(r *Record) { r.Issued = time.Time{} }, key, PayloadType), now, nil, "expire"},
		"oversized":          {made(func(r *Record) { r.Arch = strings.Repeat("x", MaxBytes) }, key, PayloadType), now, nil, "at most 8192"},
		"no envelope":        {[]byte("{}"), now, nil, "envelope"},
		"another version":    {made(func(r *Record) { r.Version = 2 }, key, PayloadType), now, nil, "version"},
		"unknown arch":       {made(func(r *Record) { r.Arch = "vax" }, key, PayloadType), now, nil, "vax"},
		"no cores":           {made(func(r *Record) { r.Cores = 0 }, key, PayloadType), now, nil, "cores"},
		"more free than all": {made(func(r *Record) { r.FreeMB = 2001 }, key, PayloadType), now, nil, "memory_free_mb"},
		"negative load":      {made(func(r *Record) { r.Load.Waiting = -1 }, key, PayloadType), now, nil, "load"},
		"unknown accept":     {made(func(r *Record) { r.Accept = "" }, key, PayloadType), now, nil, "accept"},
		"no runtime":         {made(func(r *Record) { r.Runtimes = nil }, key, PayloadType), now, nil, "runtimes"},
		"control characters": {made(func(r *Record) { r.Release.Channel = "\x1b[2J" }, key, PayloadType), now, nil, "printable"},
		"no digest":          {made(func(r *Record) { r.Release.Digest = "latest" }, key, PayloadType), now, nil, "release.digest"},
	} {
		if _, err := Verify(c.data, me, pub, c.at); err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Verify(made(same, key, PayloadType), me, nil, now); !errors.Is(err, ErrSignature) {
		t.Errorf("without a key: %v", err)
	}
	bad := record()
	bad.Cores = 0
	if _, err := Sign(bad, pub, now, sign); err == nil {
		t.Error("what would be refused was signed")
	}
}

func FuzzVerify(f *testing.F) {
	data, err := Sign(record(), pub, now, sign)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"payloadType":"application/vnd.phase.node.v1+json","payload":"e30=","signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Verify(data, me, pub, now)
		if err == nil && (r.PeerID != me || r.Cores < 1) {
			t.Errorf("accepted %+v", r)
		}
	})
}
