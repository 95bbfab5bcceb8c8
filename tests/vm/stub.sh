#!/bin/sh
# Process 1 of the machine, on its disk: the kernel's file systems, then the checkout from the second disk takes over.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
echo "vm: kernel $(uname -r) is up after $(cut -d' ' -f1 /proc/uptime) s"
mkdir -p /dev/pts /dev/shm /checkout /out
mount -t devpts devpts /dev/pts
for folder in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$folder"; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname vm
ip link set lo up
modprobe tun  # no udev here makes /dev/net/tun, which containers are given
tar -x -f /dev/nvme0n2 -C /checkout && cd /checkout && /opt/testbed/bin/python tests/vm/inside.py /checkout/.vm-job.json
sync
busybox poweroff -f
