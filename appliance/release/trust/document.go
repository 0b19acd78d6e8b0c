package trust

import (
	"phase/appliance/base/refusal"
)

// VerifyDocument returns the payload of an envelope of another type than
// releases and roots, once those have signed it who may sign releases of its
// channel, which the payload itself says and channel reads. Not a byte of the
// payload is read before some release role has signed it. Errors are *Refusal.
func (r Root) VerifyDocument(data []byte, payloadType string, channel func(payload []byte) (string, error)) ([]byte, error) {
	env, refused := open(data, payloadType)
	if refused != nil {
		return nil, refused
	}
	signers := env.SignedBy(r.keys)
	if refused := r.anyRelease(signers); refused != nil {
		return nil, refused
	}
	is, err := channel(env.Payload)
	if err != nil {
		return nil, refusal.New(refusal.Format, "%v", err)
	}
	if refused := r.satisfied(r.releaseRole(is), signers); refused != nil {
		return nil, refused
	}
	return env.Payload, nil
}
