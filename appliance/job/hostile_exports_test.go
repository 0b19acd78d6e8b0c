package job

import (
	"slices"

	"phase/appliance/jobspec"
)

// What the tests beside the interface need: package api imports this one.
var (
	HostileModules = hostileModules
	Children       = children
	Descriptors    = descriptors
	Patience       = patience
	Resting        = (*Pool).resting
)

type Hostile = hostile

func (h Hostile) Name() string   { return h.name }
func (h Hostile) Module() []byte { return h.module }

func (h Hostile) May(o jobspec.Outcome) bool { return slices.Contains(h.outcome, o) }
