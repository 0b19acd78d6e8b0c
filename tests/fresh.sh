#!/bin/sh
# Shows that a machine with only Go, git and make is enough: clones HEAD into a
# fresh Debian 12 root and runs `make demo` and `make test` there, as root.
#
#   FRESH="demo test"   what to run: any targets of make, in that order
#   FRESH_KEEP=1        leave the root where it is, to look around in it
#
# The packages come from this host's own apt sources (tests/root.sh), the Go modules
# from its proxy; the network, with its names and certificates, is this host's.
set -eu
cd "$(dirname "$0")/.."
checkout=$PWD
targets=${FRESH:-demo test}

say() { printf '\nfresh: %s\n' "$*"; }
die() { printf 'fresh: %s\n' "$*" >&2; exit 1; }
# shellcheck source=tests/root.sh
. tests/root.sh

# The second half runs in namespaces of its own: whatever it mounts and starts
# is gone when it ends, however it ends.
if [ "${1:-}" != inside ]; then
	[ "$(id -u)" -eq 0 ] || die "only root can make and enter another root; run it as root"
	for tool in debootstrap git go tar unshare apt-get; do
		command -v "$tool" >/dev/null || die "$tool is not installed"
	done
	mkdir -p "$cache"
	root=$(mktemp -d "$cache/.root.XXXXXX") # with a dot: go ./... leaves it out
	clean() {
		if [ -n "${FRESH_KEEP:-}" ]; then
			say "the root is kept in $root"
		else
			rm -rf --one-file-system "$root"
		fi
	}
	trap clean EXIT
	# A signal ends the second half, and with it this one, by the EXIT trap.
	trap 'kill -TERM "$child" 2>/dev/null || true' INT TERM HUP
	unshare --mount --propagation private --pid --fork --kill-child "$0" inside "$root" &
	child=$!
	code=0
	wait "$child" || code=$?
	# A trapped signal interrupts wait; the child is waited for once more.
	wait "$child" 2>/dev/null || true
	[ "$code" -eq 0 ] || die "it did not work (exit code $code)"
	exit 0
fi
root=$2

# furnish puts Go, this host's network and the repository into the root.
furnish() {
	say "unpacking the root"
	open_root "$root"
	mkdir -p "$root/usr/local"
	cp -a "$(go env GOROOT)" "$root/usr/local/go"
	say "cloning $(git -c safe.directory='*' rev-parse --short HEAD)"
	git clone -q --upload-pack "git -c safe.directory='*' upload-pack" "file://$checkout" "$root/root/phase"
}

# in_root DIR COMMAND… runs a command there with a login's environment, and how
# this host reaches Go modules.
in_root() (
	dir=$1
	shift
	set -- env -C "$dir" "$@"
	for name in GOPROXY GOFLAGS GOSUMDB GONOSUMDB GOPRIVATE GOINSECURE GOTOOLCHAIN; do
		set -- "$name=$(go env "$name")" "$@"
	done
	for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY TERM; do
		eval "value=\${$name:-}"
		[ -z "$value" ] || set -- "$name=$value" "$@"
	done
	exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 \
		PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
)

base
furnish
for target in $targets; do
	say "make $target"
	began=$(date +%s)
	in_root /root/phase make "$target" || die "make $target did not work in the fresh root"
	say "make $target worked, in $(($(date +%s) - began)) s"
done
