package survey

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"phase/appliance/base/refusal"
)

// Times between two questions to one provider, and the room for strangers.
const (
	recheck      = 5 * time.Minute  // an answer holds this long
	firstRetry   = 5 * time.Second  // after the first time it could not be asked
	longestRetry = 2 * time.Minute  // however often it could not
	busyRetry    = time.Second      // of one that was named, with Once; the Retry-After of plasmd
	shortTurn    = time.Second      // to answer while others wait, and twice as long after each failure
	maxProviders = 2048             // more than any segment has; see makeRoom
	roomAtOnce   = 32               // forgotten when there are so many
	sourceAtOnce = 4                // of one sender asked at once
	forgetAfter  = 30 * time.Minute // not heard of for so long
	firstPause   = 10 * time.Second // after a download that came to nothing
	longestPause = 5 * time.Minute
	never        = 1 << 62 // ns
)

// providers is what is known of each provider. It is pure: time and chance
// come in.
type providers struct {
	list     map[string]*provider // by key
	failures map[string]int       // of a sender: how often in a row it could not be asked or was refused
	once     bool                 // each is asked once for each announcement
	chance   *rand.Rand
}

// provider is one announcement, or one URL the owner named, and what came of it.
type provider struct {
	Announcement
	named  bool      // by the owner: never forgotten
	failed bool      // could not be asked, or what it answered was refused
	first  time.Time // announced first
	heard  time.Time // announced last
	next   time.Time // when to ask (again)
	retry  time.Duration
	fails  int       // times in a row that it failed, whatever it announced meanwhile
	asked  time.Time // last
	asking bool
	hurry  func() // ends a question whose time is up when others wait
	again  bool   // announced something new while it was being asked
	offer  *Offer // what it answered last
	reason string // for the last refusal, so that the same one is no news

	// A provider whose download came to nothing is not downloaded from for a
	// while, which grows each time; meanwhile others have their turn.
	pause time.Duration
	until time.Time
}

func newProviders(chance *rand.Rand, once bool) *providers {
	return &providers{list: map[string]*provider{}, failures: map[string]int{}, once: once, chance: chance}
}

// hear notes that a provider is there. A new one, or one that says something
// new, is to be asked at once; one that failed last time waits a moment, or it
// would be asked as often as it speaks. named says that the owner named it.
func (b *providers) hear(a Announcement, named bool, now time.Time) {
	p := b.list[a.Key]
	if p == nil {
		b.makeRoom()
		p = &provider{next: now, first: now}
		b.list[a.Key] = p
	} else if p.Version != a.Version || !slices.Equal(p.URLs, a.URLs) {
		p.next, p.retry, p.again = p.soonest(now), 0, p.asking
	}
	a.URLs = slices.Clone(a.URLs)
	p.Announcement, p.named, p.heard = a, named, now
}

// soonest is when a provider with something new to say may be asked.
func (p *provider) soonest(now time.Time) time.Time {
	if soon := p.asked.Add(firstRetry); p.failed && soon.After(now) {
		return soon
	}
	return now
}

// makeRoom forgets some when there are too many. Those that failed go first,
// the ones not announced for longest before the others. Then those not asked
// yet, of the sender that announces most of them, and of these the latest: a
// crowd of strangers pushes out its own, and no one who was there before. Last
// come those that have something good.
func (b *providers) makeRoom() {
	if len(b.list) < maxProviders {
		return
	}
	crowd := map[string]int{}
	var out []*provider
	for _, p := range b.list {
		crowd[p.sender()]++
		if !p.named && !p.asking {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(x, y *provider) int { return forgetFirst(x, y, crowd) })
	for _, p := range out[:min(len(out), roomAtOnce)] {
		delete(b.list, p.Key)
	}
}

// forgetFirst is negative when x is to be forgotten before y.
func forgetFirst(x, y *provider, crowd map[string]int) int {
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
		order = cmp.Or(cmp.Compare(crowd[y.sender()], crowd[x.sender()]), y.first.Compare(x.first))
	}
	return cmp.Or(order, x.heard.Compare(y.heard), cmp.Compare(x.Key, y.Key))
}

// due returns the providers to ask now, in order, and when to look again at the
// latest.
func (b *providers) due(now time.Time) (ask []*provider, wake time.Time) {
	wake = now.Add(recheck)
	for key, p := range b.list {
		switch {
		case !p.named && !p.asking && now.Sub(p.heard) > forgetAfter:
			delete(b.list, key)
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
// all the time. In the first three, those the owner named come first, a sender
// that keeps failing, under whatever names, waits behind everyone else, and no
// second announcement of a sender comes before another's first. No sender has
// more than a few questions at once.
func (b *providers) inTurns(ask []*provider) []*provider {
	hint := func(x, y *provider) int { return cmp.Or(cmp.Compare(y.Version, x.Version), cmp.Compare(x.Key, y.Key)) }
	slices.SortFunc(ask, hint)
	turn, seen := map[*provider]int{}, map[string]int{}
	for _, p := range b.list {
		if p.asking {
			seen[p.sender()]++
		}
	}
	ask = slices.DeleteFunc(ask, func(p *provider) bool {
		turn[p] = seen[p.sender()]
		seen[p.sender()]++
		return turn[p] >= sourceAtOnce
	})
	owners := func(p *provider) int {
		if p.named {
			return 0
		}
		return 1
	}
	orders := [4][]*provider{slices.Clone(ask), slices.Clone(ask), slices.Clone(ask), slices.Clone(ask)}
	for i, then := range []func(x, y *provider) int{
		func(_, _ *provider) int { return 0 },
		func(x, y *provider) int { return x.first.Compare(y.first) },
		func(x, y *provider) int { return y.first.Compare(x.first) },
	} {
		slices.SortFunc(orders[i], func(x, y *provider) int {
			return cmp.Or(cmp.Compare(owners(x), owners(y)), cmp.Compare(b.failures[x.sender()], b.failures[y.sender()]),
				cmp.Compare(x.fails, y.fails), cmp.Compare(turn[x], turn[y]), then(x, y), hint(x, y))
		})
	}
	b.chance.Shuffle(len(ask), func(i, j int) { orders[3][i], orders[3][j] = orders[3][j], orders[3][i] })
	list, in := make([]*provider, 0, len(ask)), map[*provider]bool{}
	for i := range ask {
		for _, order := range orders {
			if p := order[i]; !in[p] {
				in[p] = true
				list = append(list, p)
			}
		}
	}
	return list
}

// hurry makes room when others wait: a stranger that has not answered in its
// time (turnTime) has had its turn. It returns when there is more to hurry.
func (b *providers) hurry(now time.Time) (wake time.Time) {
	waits := false
	for _, p := range b.list {
		waits = waits || !p.asking && !p.next.After(now)
	}
	for _, p := range b.list {
		if !waits || p.hurry == nil || p.named {
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
// long as one needs that is well, and longer after each failure, up to what it
// would have without the others.
func (p *provider) turnTime() time.Duration { return shortTurn << min(p.fails, 4) }

// answered notes what came of asking, an offer or err. It returns whether that
// is news.
func (b *providers) answered(p *provider, offer Offer, err error, now time.Time) (news bool) {
	p.asking, p.hurry = false, nil
	if err == nil {
		news = p.offer == nil || p.offer.Release.Digest() != offer.Release.Digest()
		p.offer, p.retry, p.reason, p.failed, p.fails = &offer, 0, "", false, 0
		delete(b.failures, p.sender())
		p.next = now.Add(recheck)
	} else {
		p.offer, p.failed = nil, true
		p.fails++
		b.blame(p.sender())
		// A provider that could not be asked is asked again soon; one that
		// answered with something unacceptable only after a while.
		if code := refusal.CodeOf(err); code == "" || code == refusal.Unreachable || code == refusal.Slow || code == refusal.Busy {
			p.retry = min(max(2*p.retry, firstRetry), longestRetry)
			p.next = now.Add(p.retry)
		} else {
			p.retry, p.next = 0, now.Add(recheck)
		}
		news = p.reason != err.Error()
		p.reason = err.Error()
	}
	if b.once {
		p.next = now.Add(never)
	}
	if p.again {
		p.again, p.next = false, p.soonest(now)
	}
	return news
}

// askAll makes every provider due.
func (b *providers) askAll(now time.Time) {
	for _, p := range b.list {
		if p.again = p.asking; !p.asking {
			p.next, p.retry = now, 0
		}
	}
}

// waiting counts those that were not asked, or have not answered, since a time.
func (b *providers) waiting(since time.Time) (n int) {
	for _, p := range b.list {
		if p.asking || p.asked.Before(since) {
			n++
		}
	}
	return n
}

// blame counts a failure of a sender. Senders of no provider known are forgotten
// when there are too many.
func (b *providers) blame(sender string) {
	b.failures[sender]++
	if len(b.failures) <= 2*maxProviders {
		return
	}
	known := map[string]int{}
	for _, p := range b.list {
		if n, ok := b.failures[p.sender()]; ok {
			known[p.sender()] = n
		}
	}
	b.failures = known
}

// dropped notes that downloading from the provider at url came to nothing.
func (b *providers) dropped(url string, now time.Time) {
	for _, p := range b.list {
		if p.offer != nil && p.offer.Provider == url {
			p.pause = min(max(2*p.pause, firstPause), longestPause)
			p.until = now.Add(p.pause)
		}
	}
}

// urls are those of all providers: where each answered last, and else where it said
// that it is. Those with an offer come first.
func (b *providers) urls() (good []string) {
	var others []string
	for _, key := range slices.Sorted(maps.Keys(b.list)) {
		switch p := b.list[key]; {
		case p.offer != nil:
			good = append(good, p.offer.Provider)
		case len(p.URLs) > 0:
			others = append(others, p.URLs[0])
		}
	}
	b.chance.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	return append(good, others...)
}

// offers lists what providers have answered that may be downloaded from now, in
// a fixed order, and when there may be more; zero for never.
func (b *providers) offers(now time.Time) (offers []Offer, wake time.Time) {
	for _, key := range slices.Sorted(maps.Keys(b.list)) {
		switch p := b.list[key]; {
		case p.offer == nil:
		case p.until.After(now):
			if wake.IsZero() || p.until.Before(wake) {
				wake = p.until
			}
		default:
			offers = append(offers, *p.offer)
		}
	}
	return offers, wake
}
