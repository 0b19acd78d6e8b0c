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
	maxProviders = 256              // more than any segment has; the oldest heard goes
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
	urls   []string // bases, in the order to try
	hint   uint64   // version it says it has
	fixed  bool     // named by the owner: never forgotten
	failed bool     // could not be asked, or what it answered was refused
	heard  time.Time
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
// new, is to be asked at once.
func (b *book) hear(key string, urls []string, hint uint64, fixed bool, now time.Time) {
	p := b.providers[key]
	if p == nil {
		b.makeRoom()
		p = &provider{key: key, next: now}
		b.providers[key] = p
	}
	if p.hint != hint || !slices.Equal(p.urls, urls) {
		p.next, p.retry, p.again = now, 0, p.asking
	}
	p.urls, p.hint, p.fixed, p.heard = slices.Clone(urls), hint, fixed, now
}

// makeRoom forgets somebody when the book is full: of those who failed, then
// of those not asked yet, then of all, whoever was heard longest ago. A crowd
// of strangers thus pushes out no provider that has something good.
func (b *book) makeRoom() {
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
	for len(b.providers) >= maxProviders {
		var out *provider
		for _, p := range b.providers {
			if !p.fixed && (out == nil || cmp.Or(cmp.Compare(rank(p), rank(out)), p.heard.Compare(out.heard)) < 0) {
				out = p
			}
		}
		if out == nil {
			return
		}
		delete(b.providers, out.key)
	}
}

// due returns the providers to ask now, those that have not failed first and
// of them the best hint first, and when to look again at the latest. Whoever
// keeps failing waits behind everyone else, however new a release it promises.
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
	slices.SortFunc(ask, func(x, y *provider) int {
		return cmp.Or(cmp.Compare(x.retry, y.retry), cmp.Compare(y.hint, x.hint), cmp.Compare(x.key, y.key))
	})
	return ask, wake
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
