#!/bin/sh
# make ci: runs .ci/run in a fresh clone of HEAD and, when it is green, adds
# HEAD's hash to ci-green in the repository's .git.
set -eu
cd "$(dirname "$0")/.."
dirty=$(git status --porcelain)
if [ -n "$dirty" ]; then
	echo "make ci tests what is committed; commit these first, or put them away:" >&2
	echo "$dirty" >&2
	exit 1
fi
head=$(git rev-parse HEAD)
green=$(git rev-parse --path-format=absolute --git-common-dir)/ci-green
clone=$(mktemp -d)
trap 'chmod -R u+w "$clone"; rm -rf "$clone"' EXIT
trap 'exit 130' INT TERM HUP
git clone -q . "$clone/phase"
git -C "$clone/phase" checkout -q --detach "$head"
# The Makefile's variables are of this checkout; the clone has its own.
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u GOFLAGS -u CGO_ENABLED CI=true "$clone/phase/.ci/run" </dev/null
echo "$head" >>"$green"
echo "green: $head is in $green"
