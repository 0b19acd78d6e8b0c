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
mkdir -p "$root/test" "$root/host"
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
	TimeoutStartSec=600
	ExecStart=/bin/sh /test/inside.sh
	StandardOutput=append:/test/log
	StandardError=append:/test/log
EOF
cat >"$root/test/boot.sh" <<-'EOF'
	set -eu
	# A root of its own, not one changed to: the services get namespaces of theirs.
	mount --bind "$1" "$1"
	cd "$1"
	pivot_root . host
	cd /
	mount -t proc proc /proc
	mount -t sysfs -o ro sysfs /sys
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	mount -t tmpfs -o mode=755,nosuid tmpfs /dev
	for n in null zero full random urandom tty; do
		touch "/dev/$n"
		mount --bind "/host/dev/$n" "/dev/$n"
	done
	umount -l /host
	ln -s /proc/self/fd /dev/fd
	mkdir /dev/pts /dev/shm
	mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
	ln -s pts/ptmx /dev/ptmx
	exec env -i container=phase-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=phase-test.service --log-target=journal --show-status=no
EOF
code=0
unshare --pid --mount --uts --ipc --cgroup --net --fork --kill-child --propagation private \
	/bin/sh "$root/test/boot.sh" "$root" </dev/null || code=$?
cat "$root/test/log"
# systemd ends with 0 when it could not even start the unit.
grep -q '^inside: all of it worked$' "$root/test/log" || die "the log inside ends early"
exit "$code"
