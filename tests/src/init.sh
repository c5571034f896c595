#!/usr/bin/busybox sh
# Process 1 of the lab's guests: brings the NIC's driver in, then does what comes over the second serial port.
#
# A command is one line, "NUMBER COMMAND"; the answer is "=NUMBER STATUS BYTES" and so many bytes of output. The length
# comes first, so that no output can be taken for the end.

export PATH=/usr/sbin:/usr/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /dev/pts
while read -r module; do
    insmod "/modules/$module" || echo "lab: $module cannot be loaded"
done </modules/list
hostname localhost
ip link set lo up

exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
echo ready >&3
while read -r number line <&3; do
    /usr/bin/dash -c "$line" >/tmp/output 2>&1 </dev/null 3>&-
    status=$?
    echo "=$number $status $(wc -c </tmp/output)" >&3
    cat /tmp/output >&3
done
poweroff -f
