#!/usr/bin/busybox sh
# Process 1 of the machines that run test binaries: makes the system that these expect, and runs them one after the other.
# The second serial port has what they print, the third what they report.

export PATH=/usr/sbin:/usr/bin HOME=/root TMPDIR=/tmp
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
for port in 1 2; do
    stty -F /dev/ttyS$port raw -echo
done
while read -r module; do
    insmod "/modules/$module.ko" || echo "lab: $module cannot be loaded"
done </modules/list
hostname localhost
ip link set lo up

# Before 5.11 eBPF counts towards this limit, which is 64 KiB there: `tapwire check` says so, and what to do.
ulimit -l unlimited
export TAPWIRE_BIN=/tests/tapwire TAPWIRE_VERIFY_REPORT=/dev/ttyS2 RUST_BACKTRACE=0
while read -r test; do
    echo "     Running $test (/tests/$test-0)"
    "/tests/$test" --test-threads=1 --show-output
done </tests/list >/dev/ttyS1 2>&1
# The console has errors only; what the kernel warned of is wanted, too.
dmesg >/dev/ttyS0
echo "end of the tests" >/dev/ttyS1
poweroff -f
