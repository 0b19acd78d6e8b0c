#!/bin/sh
# What packaging/test.sh does in the bare root, under systemd.
set -eu
export DEBIAN_FRONTEND=noninteractive HOME=/root LC_ALL=C.UTF-8

say() { printf '\ninside: %s\n' "$*"; }
die() {
	printf 'inside: %s\n' "$*" >&2
	journalctl --no-pager -u plasmd | tail -n 30 >&2
	exit 1
}
install() { apt-get install -y -qq --allow-downgrades "$@" >/test/apt.log 2>&1; }
# refused TEXT COMMAND… must fail and say TEXT.
refused() {
	text=$1
	shift
	if "$@" >/test/said 2>&1; then die "$* should have been refused"; fi
	grep -q "$text" /test/said /test/apt.log || die "$* did not say \"$text\": $(cat /test/said /test/apt.log)"
}
# started waits until the service that runs now has said that it listens.
started() {
	systemctl is-active -q plasmd || die "plasmd is not active: $(systemctl status --no-pager plasmd)"
	id=$(systemctl show -p InvocationID --value plasmd)
	timeout 300 journalctl -f -n all -o cat "_SYSTEMD_INVOCATION_ID=$id" | grep -q -m 1 '^listening on /run/phase/plasmd.sock' || die "it does not listen"
}
# says waits until the journal of the service has a text.
says() {
	timeout 300 journalctl -f -n all -o cat -u plasmd | grep -m 1 -e "$1" || die "it is not said: $1"
}
# again starts the service anew, after it has been failing.
again() {
	systemctl stop plasmd
	systemctl reset-failed plasmd
	systemctl start plasmd
}
# whole: after all that, it runs and has what it had.
whole() {
	again
	started
	[ "$before" = "$(identity)" ] || die "the identity is another one"
	[ "$had" = "$(runs)" ] || die "the history is another one: $had / $(runs)"
	[ -z "$(find /var/lib/phase -name '*.damaged-*')" ] || die "something was set aside as damaged"
}
version() { dpkg-query -W -f '${Version}' phase; }
identity() { sha256sum /var/lib/phase/identity* | sort; }
runs() { plasmd jobs --json | grep -o '"run_id": *"[^"]*"' | sort; }

# files lists all there are, but for those of this test, and the logs and caches of other programs.
files() { find / /run -xdev \( -path /test -o -path /var/log -o -path /var/cache/apt -o -path '/run/systemd/*' -o -path '/run/log/*' \) -prune -o -print | sort -u; }

systemctl start systemd-journald.service
useradd member && useradd stranger
files >/test/before

say "install"
install /test/old.deb || die "$(cat /test/apt.log)"
started
[ "$(version)" = 0.1 ] || die "version $(version)"
pid=$(systemctl show -p MainPID --value plasmd)
[ "$(stat -c %U "/proc/$pid")" = phase ] || die "plasmd runs as $(stat -c %U "/proc/$pid")"
grep -E '^(NoNewPrivs|Seccomp|CapBnd|CapEff):' "/proc/$pid/status"
grep -q '^NoNewPrivs:.1$' "/proc/$pid/status" || die "it could gain privileges"
grep -q '^Seccomp:.2$' "/proc/$pid/status" || die "its system calls are not filtered"
grep -q '^CapBnd:.0000000000000000$' "/proc/$pid/status" || die "it has capabilities"
stat -c '%U:%G %a %n' /var/lib/phase /run/phase /run/phase/plasmd.sock
[ "$(stat -c '%U:%G %a' /var/lib/phase)" = 'phase:phase 700' ] || die "its state is open to others"
[ "$(stat -c '%U:%G %a' /run/phase/plasmd.sock)" = 'phase:phase 660' ] || die "its socket is open to others"
if journalctl --no-pager -o cat -u plasmd | grep -Ei 'warn|denied|not permitted'; then die "it complains of its walls"; fi

say "a module, and a job with a receipt, behind the walls of the service"
[ "$(printf 'esahP olleh' | plasmd run -q /test/hello.wasm)" = 'hello Phase' ] || die "plasmd run does not run it"
[ -z "$(runs)" ] || die "there are runs before the first"
printf 'esahP olleh' | plasmd execute-job --json /test/hello.wasm >/test/answer || die "$(cat /test/answer)"
grep -q '"stdout": *"hello Phase"' /test/answer || die "$(cat /test/answer)"
[ -n "$(runs)" ] || die "the daemon does not remember the job"
plasmd version
journalctl --no-pager -o cat -u plasmd | grep '^peer '

say "the group phase may use the socket, others may not"
usermod -aG phase member
as() {
	who=$1
	shift
	setpriv --reuid "$who" --regid "$who" --init-groups env HOME=/nowhere "$@"
}
as member plasmd jobs >/dev/null || die "a member of the group may not ask"
refused 'no plasmd listens there' as stranger plasmd jobs
refused 'permission denied' as stranger plasmd jobs --socket /run/phase/plasmd.sock

say "upgrade keeps identity and history"
before=$(identity) had=$(runs)
echo '# mine' >>/etc/phase/plasmd.toml
install /test/new.deb || die "$(cat /test/apt.log)"
started
[ "$(version)" != 0.1 ] || die "it is the old version"
[ "$before" = "$(identity)" ] || die "the identity is another one"
[ "$had" = "$(runs)" ] || die "the history is another one: $had / $(runs)"
grep -q '^# mine$' /etc/phase/plasmd.toml || die "the configuration is another one"
plasmd version

say "an older package over a newer is refused, and changes nothing; it is done by who wants it all the same"
now=$(version)
refused 'which is older' install /test/old.deb
grep -A 3 'which is older' /test/apt.log
[ "$now" = "$(version)" ] || die "version $(version)"
whole
PHASE_ALLOW_OLDER=1 install /test/old.deb || die "$(cat /test/apt.log)"
[ "$(version)" = 0.1 ] || die "version $(version)"
whole
install /test/new.deb || die "$(cat /test/apt.log)"

say "a configuration from the future is refused, and the journal says what to do"
cp /etc/phase/plasmd.toml /test/toml
for line in 'version = 2' 'colour = "blue"' '[cluster]' 'network.mode = "mesh"'; do
	case $line in
	version*) text='"version" is unknown: take it out, or install the newer plasmd' ;;
	colour*) text='"colour" is unknown: take it out' ;;
	*cluster*) text='"cluster" is unknown: take it out' ;;
	*) text='"mesh" is none of internet, local, private, off' ;;
	esac
	case $line in # one table may not be there twice
	*mode*) echo "$line" ;;
	*) echo "$line" && cat /test/toml ;;
	esac >/etc/phase/plasmd.toml
	again
	says "$text"
done
cp /test/toml /etc/phase/plasmd.toml
whole

say "a port in use, of HTTP and of peers"
systemctl stop plasmd
plasmd start --config /test/toml --http 127.0.0.1:8080 --network local --data /test/other --socket /test/s --state /test >/test/serve.log 2>&1 &
other=$!
timeout 300 tail -n +1 -f /test/serve.log | grep -q -m 1 '^serving http' || die "$(cat /test/serve.log)"
timeout 300 tail -n +1 -f /test/serve.log | grep -q -m 1 'advertised.*/7420' || die "$(cat /test/serve.log)"
{ echo 'http = "127.0.0.1:8080"' && cat /test/toml; } >/etc/phase/plasmd.toml
again
says '127.0.0.1:8080: another program listens there; stop it, or choose another port'
cp /test/toml /etc/phase/plasmd.toml
again
says 'port 7420 is taken'
sed -i '/^\[network\]/a listen = ["/ip4/127.0.0.1/udp/7420/quic-v1"]' /etc/phase/plasmd.toml
again
says 'listening on /ip4/127.0.0.1/udp/7420/quic-v1: another program listens there; stop it, or name other addresses'
kill "$other" && wait "$other" || true
cp /test/toml /etc/phase/plasmd.toml
whole

say "files of another user in the state folder are not touched, and the journal says whose they must be"
for f in identity.pem history.db token; do
	chown root:root "/var/lib/phase/$f"
	again
	says "/var/lib/phase/$f: permission denied; /var/lib/phase holds files of another user: start plasmd as that user, make this one the owner"
	chown -R phase:phase /var/lib/phase
done
whole
chown -R stranger:stranger /var/lib/phase # that systemd mends by itself
whole
refused 'holds files of another user' as stranger plasmd start --network off --data /var/lib/phase --state /tmp/none --socket /tmp/s

say "remove stops it and keeps what is the owner's; install brings it back"
apt-get remove -y -qq phase >/test/apt.log 2>&1 || die "$(cat /test/apt.log)"
if systemctl is-active -q plasmd; then die "it still runs"; fi
[ -e /etc/phase/plasmd.toml ] && [ "$before" = "$(identity)" ] || die "remove lost something"
[ ! -e /usr/bin/plasmd ] || die "plasmd is still there"
install /test/new.deb || die "$(cat /test/apt.log)"
started
whole

say "who disabled the service is not overruled by an upgrade"
systemctl disable --now -q plasmd
dpkg -i /test/new.deb >/test/apt.log 2>&1 || die "$(cat /test/apt.log)"
if systemctl is-enabled -q plasmd; then die "it is enabled again"; fi

say "purge leaves nothing"
apt-get purge -y -qq phase >/test/apt.log 2>&1 || die "$(cat /test/apt.log)"
if getent passwd phase || getent group phase; then die "the user is still there"; fi
files >/test/after
left=$(comm -13 /test/before /test/after)
[ -z "$left" ] || die "left: $left"
if systemctl cat plasmd >/dev/null 2>&1; then die "systemd still knows it"; fi

say "a state folder of another user is refused before anything is changed"
mkdir /var/lib/phase && echo key >/var/lib/phase/identity
refused 'belongs to root' install /test/new.deb
[ "$(cat /var/lib/phase/identity)" = key ] || die "it was changed"

printf '\ninside: all of it worked\n'
