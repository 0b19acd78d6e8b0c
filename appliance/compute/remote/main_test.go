package remote_test

import (
	"testing"

	"phase/tests/nodes"
)

func TestMain(m *testing.M) { nodes.Main(m) }
