package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unlike are what a build leaves besides: where gok works, and which versions of
// which tools it used.
var unlike = []string{"gok", "origin.json"}

// result is one file of two builds.
type result struct {
	name   string
	sha256 string // of the first
	differ string // where, "" where they are the same
}

// compare compares all files below the names in two folders, what others are made
// from first. Each must be in both.
func compare(first, second string, names ...string) (results []result, err error) {
	for _, name := range names {
		files := map[string]bool{}
		for _, dir := range []string{first, second} {
			err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
				switch {
				case err != nil:
					return err
				case slices.Contains(unlike, d.Name()) && d.IsDir():
					return fs.SkipDir
				case slices.Contains(unlike, d.Name()) || d.IsDir():
					return nil
				}
				file, err := filepath.Rel(dir, path)
				files[file] = true
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		var sorted []string
		for file := range files {
			sorted = append(sorted, file)
		}
		slices.Sort(sorted)
		for _, file := range sorted {
			r, err := compareFile(filepath.Join(first, file), filepath.Join(second, file))
			if err != nil {
				return nil, err
			}
			r.name = file
			results = append(results, r)
		}
	}
	return results, nil
}

func compareFile(first, second string) (r result, err error) {
	var modes [2]fs.FileMode
	for i, path := range []string{first, second} {
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.differ = fmt.Sprintf("is not in build %d", i+1)
			return r, nil
		case err != nil:
			return r, err
		}
		modes[i] = info.Mode().Type()
	}
	if modes[0] != modes[1] {
		r.differ = "is of another kind"
		return r, nil
	}
	if modes[0]&fs.ModeSymlink != 0 {
		return compareLink(first, second)
	}
	a, err := os.Open(first)
	if err != nil {
		return r, err
	}
	defer a.Close()
	b, err := os.Open(second)
	if err != nil {
		return r, err
	}
	defer b.Close()
	sum := sha256.New()
	at, err := firstDifference(io.TeeReader(a, sum), b)
	if err != nil {
		return r, fmt.Errorf("comparing %s and %s: %w", first, second, err)
	}
	if at >= 0 {
		r.differ = fmt.Sprintf("differs first at byte %d", at)
	}
	if _, err := io.Copy(sum, a); err != nil {
		return r, err
	}
	r.sha256 = hex.EncodeToString(sum.Sum(nil))
	return r, nil
}

func compareLink(first, second string) (r result, err error) {
	a, err := os.Readlink(first)
	if err != nil {
		return r, err
	}
	b, err := os.Readlink(second)
	if a != b {
		r.differ = fmt.Sprintf("links to %q and %q", a, b)
	}
	return r, err
}

// firstDifference is the offset of the first byte that two streams do not share,
// -1 where there is none.
func firstDifference(a, b io.Reader) (int64, error) {
	x, y := bufio.NewReaderSize(a, 1<<20), bufio.NewReaderSize(b, 1<<20)
	for at := int64(0); ; at++ {
		p, errA := x.ReadByte()
		q, errB := y.ReadByte()
		switch {
		case errors.Is(errA, io.EOF) && errors.Is(errB, io.EOF):
			return -1, nil
		case errA != nil && !errors.Is(errA, io.EOF):
			return at, errA
		case errB != nil && !errors.Is(errB, io.EOF):
			return at, errB
		case errA != nil || errB != nil || p != q:
			return at, nil
		}
	}
}

// differences are the results that are not the same, as one error that begins with
// the first.
func differences(results []result) error {
	var all []string
	for _, r := range results {
		if r.differ != "" {
			all = append(all, r.name+" "+r.differ)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return errors.New(strings.Join(all, "\n"))
}
