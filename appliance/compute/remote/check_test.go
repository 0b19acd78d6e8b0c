package remote_test

import (
	"errors"
	"strings"
	"testing"

	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
	"phase/tests/nodes"
)

// checkRejected holds an error to a rejection by a node.
func checkRejected(t *testing.T, what string, err error, by *nodes.Node, reason scheduler.Reason, says string) {
	t.Helper()
	var r *scheduler.Rejection
	if !errors.As(err, &r) || r.Reason != reason || remote.FailureOf(err) != remote.Refused {
		t.Errorf("%s: %v, want %s", what, err, reason)
		return
	}
	if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), by.Peer()) {
		t.Errorf("%s: %q does not say %q or not who", what, err, says)
	}
}
