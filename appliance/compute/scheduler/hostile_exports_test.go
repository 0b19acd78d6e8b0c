package scheduler

import (
	"slices"
	"time"

	"phase/appliance/compute/job"
)

// What the tests beside the interface need: package api imports this one.
var (
	HostileModules = hostileModules
	Children       = children
	Descriptors    = descriptors
	Patience       = patience
	Resting        = (*Pool).resting
	Settled        = (*Pool).settled
	OnTime         = onTime
	Thrice         = thrice
)

type Hostile = hostile

func (h Hostile) Name() string   { return h.name }
func (h Hostile) Module() []byte { return h.module }

func (h Hostile) Limit() time.Duration { return h.limit() }

// Outcomes are all a run may have.
func (h Hostile) Outcomes() []job.Outcome { return h.outcome }

func (h Hostile) May(o job.Outcome) bool { return slices.Contains(h.outcome, o) }
