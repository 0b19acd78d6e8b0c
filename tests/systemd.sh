#!/bin/sh
# systemd.sh ROOT UNIT makes a machine of the root in a folder: systemd is PID 1 in
# namespaces of its own, with no network but loopback, and brings up UNIT. It ends
# when that systemd does. Needs root.
set -eu
if [ "$1" != inside ]; then
	exec unshare --pid --mount --uts --ipc --cgroup --net --fork --kill-child --propagation private \
		/bin/sh "$0" inside "$@" </dev/null
fi
root=$2 unit=$3
mkdir -p "$root/host"
# A root of its own, not one changed to: the services get namespaces of theirs.
mount --bind "$root" "$root"
cd "$root"
pivot_root . host
cd /
mount -t proc proc /proc
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs /dev
for n in null zero full random urandom tty loop-control $(cd /host/dev && ls -d loop[0-9]* 2>/dev/null); do
	[ -e "/host/dev/$n" ] || continue
	touch "/dev/$n"
	mount --bind "/host/dev/$n" "/dev/$n"
done
umount -l /host
ln -s /proc/self/fd /dev/fd
mkdir /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
exec env -i container=phase-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit="$unit" --log-target=journal --show-status=no
