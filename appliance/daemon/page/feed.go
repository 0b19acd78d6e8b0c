package page

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// lookEvery is how often the node is looked at while somebody has its page open.
const lookEvery = time.Second

// feed holds the parts of the page as they were last seen, for all streams.
type feed struct {
	mu      sync.Mutex
	open    map[bool]int // streams, by whether they are the owner's
	version uint64
	parts   map[string]seen
	changed chan struct{} // closed at the next change
	ended   bool
}

// seen is a part as it was last seen.
type seen struct {
	html string
	at   uint64 // version of the feed
}

func newFeed() feed {
	return feed{open: map[bool]int{}, parts: map[string]seen{}, changed: make(chan struct{})}
}

// enter counts a stream; leave must be called.
func (f *feed) enter(owner bool) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[owner]++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.open[owner]--
	}
}

// watched says whether there are streams, and among them those of the owner.
func (f *feed) watched() (somebody, owner bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open[true]+f.open[false] > 0, f.open[true] > 0
}

// show takes the parts of a look in, and wakes the streams when one is another.
func (f *feed) show(parts map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := false
	for name, html := range parts {
		if old, ok := f.parts[name]; ok && old.html == html {
			continue
		}
		if !changed {
			changed = true
			f.version++
		}
		f.parts[name] = seen{html, f.version}
	}
	if changed {
		f.wake()
	}
}

func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// end ends all streams.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}

// since are the parts that are newer than a version, the version they make, what
// tells of the next change, and whether the feed has ended.
func (f *feed) since(version uint64) (list map[string]seen, now uint64, changed <-chan struct{}, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list = maps.Clone(f.parts)
	maps.DeleteFunc(list, func(_ string, s seen) bool { return s.at <= version })
	return list, f.version, f.changed, f.ended
}

// look renders the parts and shows them.
func (p *Page) look(ctx context.Context, owner bool) {
	all, err := p.render(ctx, owner)
	if err != nil {
		slog.Error("making the parts of the page", "error", err)
		return
	}
	p.feed.show(all)
}

// Run looks at the node while its page is open anywhere, takes the samples of the
// plots, and ends all streams when ctx ends.
func (p *Page) Run(ctx context.Context) error {
	defer p.feed.end()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if somebody, owner := p.feed.watched(); somebody {
			p.look(ctx, owner)
		} else {
			p.sample()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sample takes a sample, if it is time for one.
func (p *Page) sample() {
	p.looking.Lock()
	defer p.looking.Unlock()
	p.samples.fill(p.Disk, time.Now())
}
