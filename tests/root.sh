# shellcheck shell=sh
# A bare Debian 12 root, for tests that need a machine on which nothing is. Sourced
# with $checkout set and die and say defined. It is kept in build/fresh/ for the next
# time, and made again after 30 days. The packages come from this host's own apt
# sources.
cache=$checkout/build/fresh
codename=bookworm # Debian 12

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

# open_root ROOT unpacks the bare root there, in a mount namespace of the caller's, with
# the network, its names and certificates of this host.
open_root() {
	tar -C "$1" -xf "$cache/$codename.tar"
	cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
	# apt may need a proxy.
	apt-config dump | grep -iE '^Acquire::[a-z]+::Proxy' >"$1/etc/apt/apt.conf.d/90host" || true
	mount --rbind /dev "$1/dev"
	mount --rbind /sys "$1/sys"
	mount -t proc proc "$1/proc"
	mount -t tmpfs -o mode=755 tmpfs "$1/run"
	if [ -d /usr/local/share/ca-certificates ]; then
		cp -RL /usr/local/share/ca-certificates "$1/usr/local/share/"
		chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin update-ca-certificates >/dev/null 2>&1
	fi
}
