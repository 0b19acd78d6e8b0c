#!/bin/sh
# Runs every fuzz test of the repository in turn, prints a line for each with
# the seconds it took, and ends at the first that fails.
#
#   tests/fuzz.sh 30s     how long each runs
#
# An input that fails is kept in testdata/fuzz beside the test, and go test
# reads it from then on. A test that failed runs once more: with its input it
# fails again. If it does not, it is called FLAKY; RETRY=file keeps a note.
set -eu
cd "$(dirname "$0")/.."
time=${1:-30s}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# fuzz FOLDER NAME runs one test in its folder, as go test does, with the
# binary made of its package.
fuzz() (
	cd "$1"
	exec "$work/test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$time" -test.fuzzminimizetime 5s \
		-test.fuzzcachedir "$work/cache/$1" >"$work/out" 2>&1 </dev/null
)

began=$(date +%s)
git grep --untracked -o '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' |
	sed 's,^\(.*\)/[^/]*:func \(.*\)$,\1 \2,' | sort -u >"$work/tests"
built=
while read -r folder name; do
	start=$(date +%s)
	if [ "$folder" != "$built" ]; then
		go test -c -fuzz . -o "$work/test" "./$folder"
		built=$folder
	fi
	if ! fuzz "$folder" "$name"; then
		cat "$work/out"
		if ! fuzz "$folder" "$name"; then
			cat "$work/out"
			echo "FAIL: $name in $folder"
			exit 1
		fi
		echo "FLAKY: $name in $folder failed, and passed when it ran again"
		[ -z "${RETRY:-}" ] || echo "phase/$folder.$name" >>"$RETRY"
	fi
	printf 'ok  %-30s %-20s %3d s\n' "$folder" "$name" $(($(date +%s) - start))
done <"$work/tests"
echo "$(wc -l <"$work/tests") fuzz tests, $time each, passed in $(($(date +%s) - began)) s"
