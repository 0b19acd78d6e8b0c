package choice

import (
	"errors"
	"fmt"

	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// Candidates are the releases of a store for an arch, newest first, with what the
// journal knows of each. An error is what is wrong with the store or the journal;
// the candidates are what could be read all the same.
func Candidates(s *disk.Store, root trust.Root, arch string, journal trial.Journal) ([]Candidate, error) {
	releases, problems := s.Releases(root, arch)
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("the store: %s", p))
	}
	var list []Candidate
	for _, r := range releases {
		// Without the journal nothing is known to be bad, and nothing to be good.
		record, err := journal.Find(r.Digest())
		if err != nil && len(list) == 0 {
			errs = append(errs, err)
		}
		list = append(list, Candidate{r, record})
	}
	return list, errors.Join(errs...)
}
