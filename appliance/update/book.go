package update

import (
	"cmp"
	"slices"
	"time"

	"phase/appliance/trust"
)

// Times between two looks at one provider, and the room for strangers.
const (
	recheck      = 5 * time.Minute  // an answer holds this long
	firstRetry   = 5 * time.Second  // after the first time it could not be asked
	longestRetry = 2 * time.Minute  // however often it could not
	maxProviders = 256              // more than any segment has; see makeRoom
	forgetAfter  = 30 * time.Minute // not heard of for so long
	firstPause   = 10 * time.Second // after a download that came to nothing
	longestPause = 5 * time.Minute
)

// book is what is known of each provider. It is pure: time comes in.
type book struct {
	providers map[string]*provider // by key
}

// provider is one announcement, or one URL the owner named.
type provider struct {
	key    string
	source string    // who announced it
	urls   []string  // bases, in the order to try
	hint   uint64    // version it says it has
	fixed  bool      // named by the owner: never forgotten
	failed bool      // could not be asked, or what it answered was refused
	first  time.Time // heard of it
	heard  time.Time // last
	next   time.Time // when to ask (again)
	retry  time.Duration
	asking bool
	again  bool   // heard anew while it was being asked
	offer  *Offer // what it answered last
	told   string // the refusal that was told last, so that it is told once

	// A provider whose download came to nothing is not downloaded from for a
	// while, which grows each time; meanwhile others have their turn.
	pause time.Duration
	until time.Time
}

func newBook() *book { return &book{providers: map[string]*provider{}} }

// hear notes that a provider is there. A new one, or one that says something
// new, is to be asked at once. One that is fixed was named by the owner.
func (b *book) hear(a Announcement, fixed bool, now time.Time) {
	p := b.providers[a.Key]
	if p == nil {
		b.makeRoom()
		p = &provider{key: a.Key, source: cmp.Or(a.Source, a.Key), next: now, first: now}
		b.providers[a.Key] = p
	}
	if p.hint != a.Version || !slices.Equal(p.urls, a.URLs) {
		p.next, p.retry, p.again = now, 0, p.asking
	}
	p.urls, p.hint, p.fixed, p.heard = slices.Clone(a.URLs), a.Version, fixed, now
}

// makeRoom forgets somebody when the book is full. Those who failed go first,
// the one not heard for longest before the others. Then those not asked yet, of
// the source that announces most of them, and of these the latest: a crowd of
// strangers pushes out its own, and nobody who was there before. Last come those
// who have something good.
func (b *book) makeRoom() {
	for len(b.providers) >= maxProviders {
		crowd := map[string]int{}
		for _, p := range b.providers {
			crowd[p.source]++
		}
		var out *provider
		for _, p := range b.providers {
			if !p.fixed && (out == nil || rather(p, out, crowd)) {
				out = p
			}
		}
		if out == nil {
			return
		}
		delete(b.providers, out.key)
	}
}

// rather says whether x is to be forgotten rather than y.
func rather(x, y *provider, crowd map[string]int) bool {
	rank := func(p *provider) int {
		switch {
		case p.failed:
			return 0
		case p.offer == nil:
			return 1
		default:
			return 2
		}
	}
	order := cmp.Compare(rank(x), rank(y))
	if order == 0 && rank(x) == 1 {
		order = cmp.Or(cmp.Compare(crowd[y.source], crowd[x.source]), y.first.Compare(x.first))
	}
	return cmp.Or(order, x.heard.Compare(y.heard), cmp.Compare(x.key, y.key)) < 0
}

// due returns the providers to ask now, in order, and when to look again at the
// latest. Whoever keeps failing waits behind everyone else, however new a
// release it promises, and nobody's second announcement comes before another's
// first. Among these the best hint and the longest wait take turns: by its hint
// alone a crowd that promises much would always be ahead.
func (b *book) due(now time.Time) (ask []*provider, wake time.Time) {
	wake = now.Add(recheck)
	for key, p := range b.providers {
		switch {
		case !p.fixed && !p.asking && now.Sub(p.heard) > forgetAfter:
			delete(b.providers, key)
		case p.asking:
		case p.next.After(now):
			if p.next.Before(wake) {
				wake = p.next
			}
		default:
			ask = append(ask, p)
		}
	}
	return inTurns(ask), wake
}

func inTurns(ask []*provider) []*provider {
	hint := func(x, y *provider) int { return cmp.Or(cmp.Compare(y.hint, x.hint), cmp.Compare(x.key, y.key)) }
	slices.SortFunc(ask, hint)
	turn, seen := map[*provider]int{}, map[string]int{}
	for _, p := range ask {
		turn[p] = seen[p.source]
		seen[p.source]++
	}
	fair := func(x, y *provider) int { return cmp.Or(cmp.Compare(x.retry, y.retry), cmp.Compare(turn[x], turn[y])) }
	byHint, byWait := slices.Clone(ask), slices.Clone(ask)
	slices.SortFunc(byHint, func(x, y *provider) int { return cmp.Or(fair(x, y), hint(x, y)) })
	slices.SortFunc(byWait, func(x, y *provider) int { return cmp.Or(fair(x, y), x.first.Compare(y.first), hint(x, y)) })
	list, in := make([]*provider, 0, len(ask)), map[*provider]bool{}
	for i := range ask {
		for _, p := range []*provider{byHint[i], byWait[i]} {
			if !in[p] {
				in[p] = true
				list = append(list, p)
			}
		}
	}
	return list
}

// answered notes what came of asking. It returns whether err is news.
func (b *book) answered(p *provider, offer *Offer, err error, now time.Time) (news bool) {
	p.asking = false
	if err == nil {
		p.offer, p.retry, p.told, p.failed = offer, 0, "", false
		p.next = now.Add(recheck)
	} else {
		p.offer, p.failed = nil, true
		// A provider that could not be asked is asked again soon; one that
		// answered with something unacceptable has had its say.
		if code := trust.CodeOf(err); code == "" || code == trust.Unreachable || code == trust.Slow || code == trust.Busy {
			p.retry = min(max(2*p.retry, firstRetry), longestRetry)
			p.next = now.Add(p.retry)
		} else {
			p.retry, p.next = 0, now.Add(recheck)
		}
		news = p.told != err.Error()
		p.told = err.Error()
	}
	if p.again {
		p.again, p.next = false, now
	}
	return news
}

// dropped notes that downloading from the provider at url came to nothing.
func (b *book) dropped(url string, now time.Time) {
	for _, p := range b.providers {
		if p.offer != nil && p.offer.Provider == url {
			p.pause = min(max(2*p.pause, firstPause), longestPause)
			p.until = now.Add(p.pause)
		}
	}
}

// offers lists what providers have answered that may be downloaded from now, in
// a fixed order, and when there may be more; zero for never.
func (b *book) offers(now time.Time) (offers []Offer, wake time.Time) {
	var keys []string
	for key, p := range b.providers {
		switch {
		case p.offer == nil:
		case p.until.After(now):
			if wake.IsZero() || p.until.Before(wake) {
				wake = p.until
			}
		default:
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		offers = append(offers, *b.providers[key].offer)
	}
	return offers, wake
}
