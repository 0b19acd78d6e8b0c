#!/bin/sh
# Shows that a machine with only Go, git and make is enough: clones HEAD into a
# fresh Debian 12 root and runs `make demo` and `make test` there, as root.
#
#   FRESH="demo test"   what to run: any targets of make, in that order
#   FRESH_KEEP=1        leave the root where it is, to look around in it
#
# The packages come from this host's own apt sources, the Go modules from its
# proxy; the network, with its names and certificates, is this host's. The bare
# root is kept in build/fresh/ for the next run, and made again after 30 days.
set -eu
cd "$(dirname "$0")/.."
checkout=$PWD
cache=$checkout/build/fresh
codename=bookworm # Debian 12
targets=${FRESH:-demo test}

say() { printf '\nfresh: %s\n' "$*"; }
die() { printf 'fresh: %s\n' "$*" >&2; exit 1; }

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

# sources prints Debian's part of this host's apt sources, one line each.
sources() {
	# shellcheck disable=SC2016 # apt fills these in
	apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		sed -n "s/^Debian|$codename[a-z-]*|//p" | sort -u
}

# base makes the bare root, once.
base() {
	tar=$cache/$codename.tar
	find "$cache" -maxdepth 1 -name "$codename.tar" -mtime +30 -delete
	[ ! -e "$tar" ] || return 0
	[ -n "$(sources)" ] || apt-get update -qq # the lists say whose packages a source has
	mirror=$(sources | sed -n "s/^deb \([^ ]*\) $codename main\$/\1/p" | head -n 1)
	[ -n "$mirror" ] || die "no apt source of this host has Debian 12 ($codename main)"
	say "making a bare Debian 12 root from $mirror"
	rm -rf --one-file-system "$root.base"
	# git stands for itself with the certificates it recommends: without them neither git nor Go reaches an https address.
	debootstrap --variant=minbase --include=git,make,ca-certificates "$codename" "$root.base" "$mirror" >"$cache/debootstrap.log" 2>&1 || {
		tail -n 20 "$cache/debootstrap.log" >&2
		rm -rf --one-file-system "$root.base"
		die "debootstrap did not work; its log is $cache/debootstrap.log"
	}
	sources >"$root.base/etc/apt/sources.list"
	tar -C "$root.base" --one-file-system -cf "$tar.new" .
	rm -rf --one-file-system "$root.base"
	mv "$tar.new" "$tar"
}

# furnish puts Go, this host's network and the repository into the root.
furnish() {
	say "unpacking the root"
	tar -C "$root" -xf "$cache/$codename.tar"
	mkdir -p "$root/usr/local"
	cp -a "$(go env GOROOT)" "$root/usr/local/go"
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	# apt may need a proxy.
	apt-config dump | grep -iE '^Acquire::[a-z]+::Proxy' >"$root/etc/apt/apt.conf.d/90host" || true
	mount --rbind /dev "$root/dev"
	mount --rbind /sys "$root/sys"
	mount -t proc proc "$root/proc"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	if [ -d /usr/local/share/ca-certificates ]; then
		cp -RL /usr/local/share/ca-certificates "$root/usr/local/share/"
		in_root / update-ca-certificates >/dev/null 2>&1
	fi
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
