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
	heard  time.Time
	next   time.Time // when to ask (again)
	retry  time.Duration
	asking bool
	again  bool   // heard anew while it was being asked
	offer  *Offer // what it answered last
	told   string // the refusal that was told last, so that it is told once
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

// makeRoom forgets whoever was heard longest ago, when the book is full.
func (b *book) makeRoom() {
	for len(b.providers) >= maxProviders {
		var oldest *provider
		for _, p := range b.providers {
			if !p.fixed && (oldest == nil || p.heard.Before(oldest.heard)) {
				oldest = p
			}
		}
		if oldest == nil {
			return
		}
		delete(b.providers, oldest.key)
	}
}

// due returns the providers to ask now, best hint first, and when to look
// again at the latest.
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
		return cmp.Or(cmp.Compare(y.hint, x.hint), cmp.Compare(x.key, y.key))
	})
	return ask, wake
}

// answered notes what came of asking. It returns whether err is news.
func (b *book) answered(p *provider, offer *Offer, err error, now time.Time) (news bool) {
	p.asking = false
	if err == nil {
		p.offer, p.retry, p.told = offer, 0, ""
		p.next = now.Add(recheck)
	} else {
		p.offer = nil
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

// offers lists what providers have answered, in a fixed order.
func (b *book) offers() []Offer {
	var keys []string
	for key, p := range b.providers {
		if p.offer != nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	offers := make([]Offer, len(keys))
	for i, key := range keys {
		offers[i] = *b.providers[key].offer
	}
	return offers
}
