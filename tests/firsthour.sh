#!/bin/sh
# Does what docs/first-hour.md says, as a new user: each of its blocks of commands,
# in their order, on two bare Debian 12 machines with systemd and a network between
# them (tests/root.sh, tests/systemd.sh). Prints how long each step took. Needs root.
#
#   HOUR_KEEP=1   leave the roots where they are, to look around in them
#
# The words behind ```sh on the page, which no reader sees:
#   second   on the second machine, else on the first
#   online   with this host's network, which the machines do not have otherwise
#   again    once more until it works, as a person would ask again
#   beside   in a terminal of its own, until the end of the step
set -eu
cd "$(dirname "$0")/.."
checkout=$PWD
page=docs/first-hour.md
bound=600 # seconds that one wait may take; no measure of speed

say() { printf '\nfirst hour: %s\n' "$*"; }
die() { printf 'first hour: %s\n' "$*" >&2; exit 1; }
# shellcheck source=tests/root.sh
. tests/root.sh

if [ "${1:-}" != inside ]; then
	[ "$(id -u)" -eq 0 ] || die "only root can make and enter another root; run it as root"
	mkdir -p "$cache"
	root=$(mktemp -d "$cache/.root.XXXXXX") # with a dot: go ./... leaves it out
	clean() {
		# What a step that failed has left attached.
		losetup -n -O NAME -j "$root/first/home/you/stick.img" 2>/dev/null | xargs -r losetup -d
		# shellcheck disable=SC2016 # for the other shell
		[ ! -d "$root/cgroup" ] || unshare --mount sh -c 'mount -t cgroup2 cgroup2 "$1" && find "$1/$2"-* -depth -type d -exec rmdir {} +' - "$root/cgroup" "hour-${root##*.}" || true
		if [ -n "${HOUR_KEEP:-}" ]; then
			say "the roots are kept in $root"
		else
			rm -rf --one-file-system "$root"
		fi
	}
	trap clean EXIT
	trap 'kill -TERM "$child" 2>/dev/null || true' INT TERM HUP
	unshare --mount --propagation private --pid --fork --mount-proc --kill-child "$0" inside "$root" &
	child=$!
	code=0
	wait "$child" || code=$?
	wait "$child" 2>/dev/null || true
	[ "$code" -eq 0 ] || die "it did not work (exit code $code)"
	exit 0
fi
root=$2

# blocks writes the page's steps into a folder: NN.title, and NN-NN+WORD+… for each block.
blocks() {
	mkdir "$1"
	awk -v to="$1" '
		/^## [0-9]/ { step++; block = 0; print substr($0, 4) > sprintf("%s/%02d.title", to, step) }
		/^```sh/ && !file { file = sprintf("%s/%02d-%02d", to, step, ++block); for (i = 2; i <= NF; i++) file = file "+" $i; next }
		/^```$/ && file { close(file); file = ""; next }
		file { print > file }
	' "$page"
}

# machine NAME PACKAGES… makes the root of one, with a user who may do everything.
machine() {
	at=$root/$1
	shift
	mkdir -p "$at"
	open_root "$at"
	in_root() { chroot "$at" /usr/bin/env -i DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
	in_root apt-get update -qq
	in_root apt-get install -y -qq --no-install-recommends systemd sudo adduser "$@" >"$at/apt.log" 2>&1 || { cat "$at/apt.log"; die "its packages were not installed"; }
	umount -R "$at/dev" "$at/sys" "$at/proc" "$at/run"
	in_root useradd --create-home --shell /bin/bash you
	echo 'you ALL=(ALL) NOPASSWD: ALL' >"$at/etc/sudoers.d/you"
	mkdir "$at/hour"
	mkfifo "$at/hour/up"
	printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "echo up >/hour/up"\n' >"$at/etc/systemd/system/hour.service"
}

# furnish puts Go and a checkout on the first machine, which the page asks for.
furnish() {
	cp -a "$(go env GOROOT)" "$root/first/usr/local/go"
	{
		# shellcheck disable=SC2016 # for the shell there
		echo 'PATH=/usr/local/go/bin:$PATH'
		echo 'export DEBIAN_FRONTEND=noninteractive'
		for name in GOPROXY GOSUMDB GONOSUMDB GOPRIVATE GOINSECURE GOTOOLCHAIN; do echo "export $name='$(go env "$name")'"; done
		for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
			eval "value=\${$name:-}"
			[ -z "$value" ] || echo "export $name='$value'"
		done
	} >"$root/first/etc/profile.d/hour.sh"
	git clone -q --upload-pack "git -c safe.directory='*' upload-pack" "file://$checkout" "$root/first/home/you/phase"
	chroot "$root/first" /bin/chown -R you:you /home/you
}

# boot NAME starts a machine and sets pid to its PID 1. Each has a control group of its
# own, so that their systemds do not share one.
boot() {
	(
		group=$root/cgroup/hour-${root##*.}-$1
		mkdir "$group"
		sh -c 'echo $$ >"$1" && exec sh tests/systemd.sh "$2" hour.service' - "$group/cgroup.procs" "$root/$1"
	) &
	timeout "$bound" cat "$root/$1/hour/up" >/dev/null || die "machine $1 did not come up"
	for pid in /proc/[0-9]*; do
		grep -q '^NSpid:.*[[:space:]]1$' "$pid/status" 2>/dev/null && grep -q '^Name:[[:space:]]systemd$' "$pid/status" || continue
		pid=${pid#/proc/}
		[ "$pid" = "${first:-}" ] || return 0
	done
	die "machine $1 has no systemd"
}

# on PID NET BLOCK does a block there, as the user who logs in anew, in the checkout if there is one.
on() {
	# shellcheck disable=SC2086 # --net or nothing
	nsenter --target "$1" --mount --uts --ipc --pid --cgroup $2 -- \
		su -l you -c "cd phase 2>/dev/null || true; exec sh -eu '$3'" </dev/null
}

# end presses the power button of what runs beside.
end() {
	[ -n "$beside" ] || return 0
	printf '\001p' >&9
	exec 9>&-
	wait "$beside" || die "what ran beside ended with exit code $?: $(tail -n 20 "$root/first/hour/console")"
	tail -n 3 "$root/first/hour/console"
	beside=
}

# block does one of them.
block() {
	to=$root/first pid=$first net=--net code=0
	case $1 in *+second*) to=$root/second pid=$second ;; esac
	case $1 in *+online*) net= ;; esac
	echo
	sed 's/^/$ /' "$1"
	cp "$1" "$to/hour/block"
	case $1 in
	*+beside*)
		mkfifo "$to/hour/keys"
		cp "$1" "$to/hour/beside"
		echo 'exec script --quiet --flush --return --command "sh -eu /hour/beside" /home/you/console </hour/keys >/dev/null' >"$to/hour/block-beside"
		on "$pid" "$net" /hour/block-beside &
		beside=$!
		exec 9<>"$to/hour/keys" # for both: it opens before anybody reads
		ln -s ../home/you/console "$to/hour/console"
		;;
	*+again*)
		ends=$(($(date +%s) + bound))
		until on "$pid" "$net" /hour/block; do
			[ "$(date +%s)" -lt "$ends" ] || die "it never worked"
			[ -z "$beside" ] || grep -q '^State:.[^Z]' "/proc/$beside/status" || die "what ran beside has ended: $(tail -n 40 "$to/hour/console")"
			sleep 1
		done
		;;
	*) on "$pid" "$net" /hour/block || die "it did not work (exit code $?)" ;;
	esac
}

say "two bare machines"
base
blocks "$root/page"
machine first git make
machine second
furnish
mkdir "$root/cgroup"
mount -t cgroup2 cgroup2 "$root/cgroup"
boot first
first=$pid
boot second
second=$pid
ip link add eth0 netns "$first" type veth peer name eth0 netns "$second"
n=0
for pid in "$first" "$second"; do
	n=$((n + 1))
	nsenter --target "$pid" --net ip address add "10.77.0.$n/24" dev eth0
	nsenter --target "$pid" --net ip link set eth0 up
done

beside='' times='' all=0
for title in "$root"/page/*.title; do
	say "$(cat "$title")"
	began=$(date +%s)
	for b in "${title%.title}"-*; do
		# The one copy that the page asks for in words.
		case $b in *+second*) cp -n "$root"/first/home/you/phase/build/phase_*_amd64.deb "$root/second/home/you/" ;; esac
		block "$b"
	done
	end
	took=$(($(date +%s) - began)) all=$((all + $(date +%s) - began))
	times="$times$(printf '%5d s  %s' "$took" "$(cat "$title")")
"
done
say "all of the page worked"
printf '%s%5d s  in all\n' "$times" "$all"
