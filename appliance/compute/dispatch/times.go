package dispatch

import (
	"cmp"
	"time"
)

// Times are how long things may take. Zero fields have the default that stands
// behind them.
type Times struct {
	Find    time.Duration // to look for nodes that fit: 10 s
	Settle  time.Duration // for a better one to be found when there are enough: 200 ms
	Ask     time.Duration // for a node to say what it can do: 4 s
	Recover time.Duration // that a receipt is looked up where the stream has broken and another node could run the job: 5 s
}

func (t Times) orDefault() Times {
	return Times{
		Find: cmp.Or(t.Find, 10*time.Second), Settle: cmp.Or(t.Settle, 200*time.Millisecond),
		Ask: cmp.Or(t.Ask, 4*time.Second), Recover: cmp.Or(t.Recover, 5*time.Second),
	}
}
