#!/bin/sh
# Installs the Debian packages given that are missing: by itself as root,
# else it prints the line to run.
set -eu
missing=
for package; do
	case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
	"install ok installed") ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "Debian packages are missing. Run this, then try again:" >&2
	echo "  sudo apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive

# patiently does again, for some minutes, what fails while another program
# holds the package system or a mirror does not answer.
patiently() {
	for wait in 5 10 20 40 60 60; do
		if "$@"; then return; fi
		echo "again in $wait s: $*" >&2
		sleep "$wait"
	done
	"$@"
}

# What an earlier run left half installed stops apt-get altogether.
[ -z "$(dpkg --audit)" ] || patiently dpkg --configure -a
patiently apt-get update -qq
# shellcheck disable=SC2086 # a list of words is meant
patiently apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=60 -o Acquire::Retries=3 $missing >/dev/null
