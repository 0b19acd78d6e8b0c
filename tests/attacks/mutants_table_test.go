package attacks

const (
	trustRoot    = "appliance/release/trust/root.go"
	trustInspect = "appliance/release/trust/inspect.go"
	envelopeFile = "appliance/base/envelope/envelope.go"
	strictJSON   = "appliance/base/strictjson/strictjson.go"
	fetchClient  = "appliance/release/fetch/client.go"
	receiptCheck = "appliance/compute/receipt/check.go"
	receiptFile  = "appliance/compute/receipt/receipt.go"
	jobVerify    = "appliance/compute/scheduler/verify.go"
)

// mutants are the product without one check each.
var mutants = []mutant{
	// Who has signed.
	{"signature", []string{"verify/manifest-signature", "fetch/payload-swapped"}, []edit{
		{envelopeFile, "ed25519.Verify(key, message, sig)", "len(sig) > 0"}}},
	{"threshold", []string{"verify/manifest-threshold", "roots/one-of-two"}, []edit{
		{trustRoot, "case role.Threshold < 1 || n < role.Threshold:", "case role.Threshold < 1:"}}},
	{"signature-twice", []string{"verify/manifest-threshold", "roots/one-of-two-twice"}, []edit{
		{envelopeFile, "	signed := map[string]bool{}\n", "	var signed []string\n"},
		{envelopeFile, "signed[id] = true", "signed = append(signed, id)"},
		{envelopeFile, "slices.Sorted(maps.Keys(signed))", "slices.Sorted(slices.Values(append(signed, slices.Collect(maps.Keys(map[string]bool{}))...)))"},
		{trustRoot, "for _, id := range role.KeyIDs {\n		if slices.Contains(signers, id) {", "for _, id := range signers {\n		if slices.Contains(role.KeyIDs, id) {"}}},
	{"key-id-believed", []string{"verify/root-key"}, []edit{
		{trustRoot, "if k.KeyID != envelope.KeyID(key) {", "if false {"}}},
	{"key-twice-in-role", []string{"verify/root-role"}, []edit{
		{trustRoot, "if seen[id] {", "if false {"}}},
	{"payload-type", []string{"verify/manifest-format", "verify/root-format"}, []edit{
		{trustRoot, "case env.PayloadType != payloadType:", "case false:"}}},

	// What is asked of a release.
	{"channel", []string{"fetch/other-channel"}, []edit{
		{trustInspect, `note("channel", asked(refusal.Channel, m.Channel, p.Channel), "%s", m.Channel)`, ""}}},
	{"arch", []string{"fetch/other-arch"}, []edit{
		{trustInspect, `note("arch", asked(refusal.Arch, m.Arch, p.Arch), "%s", m.Arch)`, ""}}},
	{"rollback", []string{"verify/manifest-policy", "fetch/rollback"}, []edit{
		{trustInspect, "case version < p.Floor:", "case false:"}}},
	{"update-floor", []string{"update/rollback"}, []edit{
		{"appliance/release/update/update.go", "Floor: floor, FloorDigest: same,", "Floor: 0 * floor, FloorDigest: same,"}}},
	{"equivocation", []string{"fetch/twin"}, []edit{
		{trustInspect, "case version == p.Floor && !p.FloorDigest.IsZero() && v.digest != p.FloorDigest:", "case false:"}}},
	{"evidence", []string{"update/evidence"}, []edit{
		{"appliance/release/update/update.go", "if l.Twin != nil && refusal.CodeOf(err) == refusal.Equivocation {", "if false {"}}},
	{"expiry", []string{"fetch/expired", "verify/expired-now"}, []edit{
		{trustInspect, `note("expires", fresh("the manifest", m.Expires, p.Now), "until %s", rfc3339(m.Expires))`, ""}}},
	{"root-expiry", []string{"verify/root-expired"}, []edit{
		{trustInspect, `note("root", fresh("the root", r.expires, p.Now), "version %d, until %s", r.version, rfc3339(r.expires))`, ""}}},
	{"failed-before", []string{"update/failed-before"}, []edit{
		{"appliance/release/update/update.go", "	if l.Failed(v.Digest()) {\n", "	if false {\n"}}},
	{"cmdline", []string{"verify/manifest-cmdline", "fetch/init-in-cmdline", "fetch/phase-in-cmdline"}, []edit{
		{"appliance/machine/settings/next.go", "if strings.HasPrefix(strings.ToLower(word), taken) {", `if taken == "" {`}}},
	{"artifact-names", []string{"verify/manifest-artifact", "fetch/artifact-path"}, []edit{
		{"appliance/release/manifest/check.go", "if err := layout.CheckArtifactName(name); err != nil {", "if err := error(nil); err != nil {"},
		{"appliance/release/manifest/check.go", `"phase/appliance/release/layout"`, `_ "phase/appliance/release/layout"`}}},
	{"artifact-count", []string{"verify/manifest-artifacts"}, []edit{
		{"appliance/release/manifest/check.go", "if len(m.Artifacts) > MaxArtifacts {", "if false {"}}},

	// Documents.
	{"duplicate-names", []string{"verify/manifest-payload", "fetch/duplicate-signed"}, []edit{
		{strictJSON, "jsontext.NewDecoder(bytes.NewReader(data))", "jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))"},
		{strictJSON, "if names[len(names)-1][name] {", "if false {"},
		{strictJSON, "json.RejectUnknownMembers(set.rejectUnknown))", "json.RejectUnknownMembers(set.rejectUnknown), jsontext.AllowDuplicateNames(true))"},
		{strictJSON, "json.MatchCaseInsensitiveNames(true))", "json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true))"}}},
	{"size-cap", []string{"verify/manifest-size", "fetch/a-byte-over"}, []edit{
		{envelopeFile, "MaxBytes = strictjson.MaxBytes", "MaxBytes = 16 * strictjson.MaxBytes"}}},

	// Bytes.
	{"digest", []string{"fetch/first-byte", "fetch/kernel-is-rootfs-cut"}, []edit{
		{"appliance/release/fetch/artifact.go", "if got == a.want.SHA256 {", "if true {"}}},
	{"digest-at-load", []string{"kexec/byte"}, []edit{
		{"appliance/release/kexec/load.go", "} else if is != want {", "} else if false {"}}},
	{"artifact-size", []string{"fetch/one-byte-more"}, []edit{
		{"appliance/release/fetch/source.go", "if resp.ContentLength >= 0 && resp.ContentLength != length {", "if false {"}}},
	{"slow", []string{"fetch/artifacts-drip"}, []edit{
		{"appliance/release/fetch/source.go", "func() { cancel(slow) }", "func() { _ = slow }"}}},
	{"redirect", []string{"fetch/redirect"}, []edit{
		{fetchClient, "return http.ErrUseLastResponse", "return nil"}}},

	// Roots.
	{"unknown-root", []string{"roots/unknown-root", "roots/release-key-root"}, []edit{
		{trustRoot, "		refused = r.satisfied(RoleRoot, env.SignedBy(r.keys))\n", "		_ = env\n"}}},
	{"root-signs-itself", []string{"verify/root-signature", "verify/root-threshold"}, []edit{
		{trustRoot, "if refused := root.satisfied(RoleRoot, env.SignedBy(root.keys)); refused != nil {", "if refused != nil {"}}},
	{"root-order", []string{"roots/skipped-root"}, []edit{
		{trustRoot, "if next.version != r.version+1 {", "if false {"}}},

	// What a provider gives.
	{"encoded-slash", []string{"serve/encoded-slash"}, []edit{
		{"appliance/release/provide/provide.go", "answer = nil // a slash that does not separate is in no name", "_ = answer"}}},
	{"link", []string{"serve/link"}, []edit{
		{"appliance/release/store/folder.go", "FileIn(f.dir, file)", `File(f.dir.Name() + "/" + file)`}}},

	// Jobs.
	{"accept", []string{"jobs/not-accepted"}, []edit{
		{"appliance/compute/remote/server.go", "case !s.Accept.Allows(peerID):", "case false:"}}},
	{"replay", []string{"jobs/replayed"}, []edit{
		{"appliance/compute/scheduler/admit.go", "} else if seen {", "} else if seen && false {"},
		{"appliance/compute/history/history.go", "		return ErrSeen\n", "		_ = ErrSeen\n"}}},
	{"late-offer", []string{"jobs/late"}, []edit{
		{"appliance/compute/remote/offer.go", "case !expires.After(now):", "case false:"}}},
	{"module-offered", []string{"jobs/other-module"}, []edit{
		{"appliance/compute/job/jobspec.go", "if module != s.job.ModuleHash {", "if false {"}}},
	{"receipt-pin", []string{"receipt/signature", "jobs/lie-key"}, []edit{
		{receiptFile, "if len(env.SignedBy(keys)) == 0 {", "if len(env.SignedBy(keys)) < 0 {"}}},
	{"receipt-peer", []string{"receipt/signature", "jobs/lie-name"}, []edit{
		{receiptFile, "if n.PeerID != pin.PeerID {", "if false {"}}},
	{"receipt-module", []string{"receipt/job", "jobs/lie-module"}, []edit{
		{receiptCheck, `{"module_hash", p.ModuleHash, asked.ModuleHash},`, ""}}},
	{"receipt-input", []string{"jobs/lie-input"}, []edit{
		{jobVerify, "s.CheckStdin(stdin),", "func() error { _ = stdin; return nil }(),"},
		{receiptCheck, `if asked.StdinHash != "" && "sha256:"+p.StdinSHA256 != asked.StdinHash {`, "if false {"}}},
	{"receipt-output", []string{"jobs/lie-output"}, []edit{
		{jobVerify, "s.CheckStdout(stdout), ", "func() error { _ = stdout; return nil }(), "}}},
	{"receipt-nonce", []string{"jobs/lie-nonce"}, []edit{
		{jobVerify, "s.CheckNonce(o.Nonce),", ""}}},
}
