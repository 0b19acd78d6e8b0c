package update

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"phase/appliance/base/refusal"
)

// Times between two looks at one provider, and the room for strangers.
const (
	recheck      = 5 * time.Minute  // an answer holds this long
	firstRetry   = 5 * time.Second  // after the first time it could not be asked
	longestRetry = 2 * time.Minute  // however often it could not
	maxProviders = 2048             // more than any segment has; see makeRoom
	roomAtOnce   = 32               // forgotten when there are so many
	sourceAtOnce = 4                // of one source asked at once
	forgetAfter  = 30 * time.Minute // not heard of for so long
	firstPause   = 10 * time.Second // after a download that came to nothing
	longestPause = 5 * time.Minute
)

// book is what is known of each provider. It is pure: time and chance come in.
type book struct {
	providers map[string]*provider // by key
	sources   map[string]int       // how often in a row who announced them could not be asked or was refused
	chance    *rand.Rand
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
	fails  int       // times in a row that it could not be asked or was refused, whatever it announced meanwhile
	asked  time.Time // last
	asking bool
	hurry  func() // ends the asking, whose time is up when others wait
	again  bool   // heard anew while it was being asked
	offer  *Offer // what it answered last
	told   string // the refusal that was told last, so that it is told once

	// A provider whose download came to nothing is not downloaded from for a
	// while, which grows each time; meanwhile others have their turn.
	pause time.Duration
	until time.Time
}

func newBook(chance *rand.Rand) *book {
	return &book{providers: map[string]*provider{}, sources: map[string]int{}, chance: chance}
}

// hear notes that a provider is there. A new one, or one that says something
// new, is to be asked at once; who failed last time waits a moment, lest it be
// asked as often as it speaks. One that is fixed was named by the owner.
func (b *book) hear(a Announcement, fixed bool, now time.Time) {
	p := b.providers[a.Key]
	if p == nil {
		b.makeRoom()
		p = &provider{key: a.Key, source: cmp.Or(a.Source, a.Key), next: now, first: now}
		b.providers[a.Key] = p
	}
	if p.hint != a.Version || !slices.Equal(p.urls, a.URLs) {
		p.next, p.retry, p.again = now, 0, p.asking
		if soon := p.asked.Add(firstRetry); p.failed && soon.After(now) {
			p.next = soon
		}
	}
	p.urls, p.hint, p.fixed, p.heard = slices.Clone(a.URLs), a.Version, fixed, now
}

// makeRoom forgets some when the book is full. Those who failed go first, the
// ones not heard for longest before the others. Then those not asked yet, of the
// source that announces most of them, and of these the latest: a crowd of
// strangers pushes out its own, and nobody who was there before. Last come those
// who have something good.
func (b *book) makeRoom() {
	if len(b.providers) < maxProviders {
		return
	}
	crowd := map[string]int{}
	var out []*provider
	for _, p := range b.providers {
		crowd[p.source]++
		if !p.fixed && !p.asking {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(x, y *provider) int { return rather(x, y, crowd) })
	for _, p := range out[:min(len(out), roomAtOnce)] {
		delete(b.providers, p.key)
	}
}

// rather is negative when x is to be forgotten rather than y.
func rather(x, y *provider, crowd map[string]int) int {
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
	return cmp.Or(order, x.heard.Compare(y.heard), cmp.Compare(x.key, y.key))
}

// due returns the providers to ask now, in order, and when to look again at the
// latest.
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
	return b.inTurns(ask), wake
}

// inTurns orders those to be asked. Four ways to be next take turns, so that no
// crowd, whatever it does, is always ahead: the best hint, the longest wait, the
// latest arrival, and chance. By its hint alone a crowd that promises much would
// win, by its wait one that was there before, by its arrival one that comes anew
// all the time. In the first three, whom the owner named comes first, whoever
// keeps failing, under whatever names, waits behind everyone else, and nobody's
// second announcement comes before another's first. No source has more than a few
// turns at once.
func (b *book) inTurns(ask []*provider) []*provider {
	hint := func(x, y *provider) int { return cmp.Or(cmp.Compare(y.hint, x.hint), cmp.Compare(x.key, y.key)) }
	slices.SortFunc(ask, hint)
	turn, seen := map[*provider]int{}, map[string]int{}
	for _, p := range b.providers {
		if p.asking {
			seen[p.source]++
		}
	}
	ask = slices.DeleteFunc(ask, func(p *provider) bool {
		turn[p] = seen[p.source]
		seen[p.source]++
		return turn[p] >= sourceAtOnce
	})
	owners := func(x, y *provider) int {
		if x.fixed == y.fixed {
			return 0
		} else if x.fixed {
			return -1
		}
		return 1
	}
	fair := func(x, y *provider) int {
		return cmp.Or(owners(x, y), cmp.Compare(b.sources[x.source], b.sources[y.source]),
			cmp.Compare(x.fails, y.fails), cmp.Compare(turn[x], turn[y]))
	}
	byHint, byWait, byArrival, byChance := slices.Clone(ask), slices.Clone(ask), slices.Clone(ask), slices.Clone(ask)
	slices.SortFunc(byHint, func(x, y *provider) int { return cmp.Or(fair(x, y), hint(x, y)) })
	slices.SortFunc(byWait, func(x, y *provider) int { return cmp.Or(fair(x, y), x.first.Compare(y.first), hint(x, y)) })
	slices.SortFunc(byArrival, func(x, y *provider) int { return cmp.Or(fair(x, y), y.first.Compare(x.first), hint(x, y)) })
	b.chance.Shuffle(len(byChance), func(i, j int) { byChance[i], byChance[j] = byChance[j], byChance[i] })
	list, in := make([]*provider, 0, len(ask)), map[*provider]bool{}
	for i := range ask {
		for _, p := range []*provider{byHint[i], byWait[i], byArrival[i], byChance[i]} {
			if !in[p] {
				in[p] = true
				list = append(list, p)
			}
		}
	}
	return list
}

// hurry makes room when somebody waits: a stranger who has not answered in its
// time (turnTime) has had its turn. It returns when there is more to hurry.
func (b *book) hurry(now time.Time) (wake time.Time) {
	waits := false
	for _, p := range b.providers {
		waits = waits || !p.asking && !p.next.After(now)
	}
	for _, p := range b.providers {
		if !waits || p.hurry == nil || p.fixed {
			continue
		}
		if end := p.asked.Add(p.turnTime()); !end.After(now) {
			p.hurry()
			p.hurry = nil
		} else if wake.IsZero() || end.Before(wake) {
			wake = end
		}
	}
	return wake
}

// turnTime is how long a provider is asked while others wait: the first time as
// long as anybody needs who is well, and longer each time it did not do, up to
// what it would have without the others.
func (p *provider) turnTime() time.Duration { return crowdTime << min(p.fails, 4) }

// answered notes what came of asking. It returns whether err is news.
func (b *book) answered(p *provider, offer *Offer, err error, now time.Time) (news bool) {
	p.asking, p.hurry = false, nil
	if err == nil {
		p.offer, p.retry, p.told, p.failed, p.fails = offer, 0, "", false, 0
		delete(b.sources, p.source)
		p.next = now.Add(recheck)
	} else {
		p.offer, p.failed = nil, true
		p.fails++
		b.blame(p.source)
		// A provider that could not be asked is asked again soon; one that
		// answered with something unacceptable has had its say.
		if code := refusal.CodeOf(err); code == "" || code == refusal.Unreachable || code == refusal.Slow || code == refusal.Busy {
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
		if soon := p.asked.Add(firstRetry); p.failed && soon.After(now) {
			p.next = soon
		}
	}
	return news
}

// blame counts a failure of a source. Who is not in the book any more is
// forgotten when there are too many.
func (b *book) blame(source string) {
	b.sources[source]++
	if len(b.sources) <= 2*maxProviders {
		return
	}
	known := map[string]int{}
	for _, p := range b.providers {
		if n, ok := b.sources[p.source]; ok {
			known[p.source] = n
		}
	}
	b.sources = known
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
