#!/bin/sh
# Shows what the Debian package does, on a bare Debian 12 root in which systemd runs as
# PID 1 in namespaces of its own, with no network but loopback: install, the service
# under its own user and all its walls, upgrade, remove, purge, and what it refuses.
# What is done inside is in packaging/inside.sh. Needs root.
#
#   DEB_KEEP=1   leave the root where it is, to look around in it
set -eu
cd "$(dirname "$0")/.."
checkout=$PWD

say() { printf '\ndeb: %s\n' "$*"; }
die() { printf 'deb: %s\n' "$*" >&2; exit 1; }
# shellcheck source=tests/root.sh
. tests/root.sh

if [ "${1:-}" != inside ]; then
	[ "$(id -u)" -eq 0 ] || die "only root can make and enter another root; run it as root"
	mkdir -p "$cache"
	# All packages are of the commit that is there now.
	VERSION=$(git log -1 --format=%ct)
	export VERSION SOURCE_DATE_EPOCH="$VERSION"

	say "the same commit gives the same bytes, and both architectures pass lintian"
	out=$checkout/build/deb
	rm -rf "$out/first" "$out/again" "$out/old" "$out/sdk"
	make --no-print-directory build
	for arch in amd64 arm64; do
		for to in first again; do
			make --no-print-directory -s deb ARCH=$arch BUILD="$out/$to" OWN=build/bin/phase
		done
	done
	for f in "$out"/first/*.deb; do
		cmp "$f" "$out/again/$(basename "$f")"
		lintian --allow-root --fail-on error,warning "$f"
		echo "$(basename "$f"): the same bytes again, and lintian is content"
	done

	say "the programs for arm64 run, under emulation"
	rm -rf "$out/arm64-root"
	dpkg-deb -x "$out"/first/phase_*_arm64.deb "$out/arm64-root"
	version=$(dpkg-deb -f "$out"/first/phase_*_arm64.deb Version)
	for name in plasmd phase discover fetch verify; do
		told=$(qemu-aarch64 -0 "$name" "$out/arm64-root/usr/lib/phase/phase" --version)
		[ "$told" = "$name $version" ] || die "$name for arm64 says of its version: $told"
		echo "$told"
	done
	qemu-aarch64 -0 plasmd "$out/arm64-root/usr/lib/phase/phase" init --path "$out/arm64-root/plasmd.toml"

	# The one before, for the upgrade.
	make --no-print-directory -s deb ARCH=amd64 VERSION=1 BUILD="$out/old" OWN=build/bin/phase

	say "what the service leaves open"
	unit=packaging/files/plasmd.service
	systemd-analyze security --no-pager --offline=true --threshold=25 $unit >"$out/security"
	grep -v '✓' "$out/security"
	sed -n 's/^✗ \([A-Za-z]*\)=.*/\1/p' "$out/security" | sort -u | while read -r name; do
		grep -q "^# $name" $unit || die "$unit does not say why $name stays open"
	done

	say "Composer takes the SDK out of its archive, without a network"
	make --no-print-directory -s sdk-php-archive BUILD="$out/sdk"
	mkdir "$out/sdk/project"
	echo '{"repositories":[{"type":"artifact","url":"../php"},{"packagist.org":false}]}' >"$out/sdk/project/composer.json"
	(
		cd "$out/sdk/project"
		export COMPOSER_ALLOW_SUPERUSER=1 COMPOSER_HOME="$out/sdk/home"
		composer require --quiet --no-interaction phase/sdk
		# shellcheck disable=SC2016 # PHP's own
		php -r 'require "vendor/autoload.php"; echo "phase/sdk ", Composer\InstalledVersions::getPrettyVersion("phase/sdk"), ": ", Phase\Client::class, class_exists("Phase\Client") ? " is there" : exit(1), "\n";'
	)

	root=$(mktemp -d "$cache/.root.XXXXXX") # with a dot: go ./... leaves it out
	clean() {
		if [ -n "${DEB_KEEP:-}" ]; then
			say "the root is kept in $root"
		else
			rm -rf --one-file-system "$root"
		fi
	}
	trap clean EXIT
	trap 'kill -TERM "$child" 2>/dev/null || true' INT TERM HUP
	unshare --mount --propagation private --pid --fork --kill-child "$0" inside "$root" &
	child=$!
	code=0
	wait "$child" || code=$?
	wait "$child" 2>/dev/null || true
	[ "$code" -eq 0 ] || die "it did not work (exit code $code)"
	say "all of it worked"
	exit 0
fi
root=$2

base
say "a bare root with systemd"
open_root "$root"
in_root() { chroot "$root" /usr/bin/env -i DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
in_root apt-get update -qq
# What the package depends on; what it brings itself is installed inside, where no network is.
in_root apt-get install -y -qq --no-install-recommends systemd >"$root/apt.log" 2>&1 || { cat "$root/apt.log"; die "systemd was not installed"; }
umount -R "$root/dev" "$root/sys" "$root/proc" "$root/run"
mkdir -p "$root/test"
cp build/deb/old/phase_0.1_amd64.deb "$root/test/old.deb"
cp build/deb/first/phase_*_amd64.deb "$root/test/new.deb"
cp build/examples/hello.wasm packaging/inside.sh "$root/test/"

# A unit that runs the script; when it has ended so does systemd, with its exit code.
cat >"$root/etc/systemd/system/phase-test.service" <<-'EOF'
	[Unit]
	SuccessAction=exit
	FailureAction=exit
	[Service]
	Type=oneshot
	TimeoutStartSec=3000
	ExecStart=/bin/sh /test/inside.sh
	StandardOutput=append:/test/log
	StandardError=append:/test/log
EOF
code=0
tests/systemd.sh "$root" phase-test.service || code=$?
cat "$root/test/log"
# systemd ends with 0 when it could not even start the unit.
grep -q '^inside: all of it worked$' "$root/test/log" || die "the log inside ends early"
exit "$code"
