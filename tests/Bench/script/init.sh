#!/bin/sh
# What the agent does in the initrd, done by the usual programs from a shell script: the machine to compare with. The same
# kernel, root and disks; the same choice of disk, ciphers and sizes. Tells the time of each moment on the console.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
at() { read -r now idle < /proc/uptime; echo "bench: $now $*"; }
argument() { sed -n "s/.*mayfly.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

at started
modprobe -a $(cat /modules)
until [ -b /dev/nvme0n1 ] && [ -b /dev/nvme1n1 ]; do :; done
for partition in /sys/block/nvme*/nvme*p*; do
  if grep -q '^PARTNAME=mayfly-root$' "$partition/uevent"; then root=/dev/${partition##*/}; fi
done
blocks=$(argument blocks)
veritysetup open --no-superblock --hash sha256 --data-blocks "$blocks" --hash-offset $((blocks * 4096)) --salt "$(argument salt)" "$root" root "$root" "$(argument roothash)"
mount -t squashfs -o ro /dev/mapper/root /root
cat /root/usr/lib/systemd/systemd /root/usr/lib/*-linux-gnu/systemd/libsystemd-*.so > /dev/null
at root verified

for disk in /sys/block/nvme*; do
  case $(cat "$disk/device/serial") in vol1*) disk=/dev/${disk##*/}; break ;; esac
done
if blkid -p "$disk"; then echo "bench: $disk is not empty"; exit 1; fi
swap=$((4 << 21)) # sectors of 512 bytes
encrypt() {
  name=$1
  shift
  head -c 64 /dev/urandom | cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 --key-file - --sector-size 4096 \
    --perf-no_read_workqueue --perf-no_write_workqueue --shared "$@" "$disk" "$name"
}
encrypt scratch --offset $swap
mkfs.ext4 -q -F -O ^has_journal -E nodiscard,lazy_itable_init=1 -m 0 /dev/mapper/scratch
mount -t ext4 -o noatime,nodev,nosuid /dev/mapper/scratch /scratch
at scratch ready

encrypt swap --size $swap
mkswap -q /dev/mapper/swap
swapon /dev/mapper/swap
mkdir /scratch/upper /scratch/work
mount -t overlay -o lowerdir=/root,upperdir=/scratch/upper,workdir=/scratch/work overlay /sysroot
at writable view laid
echo o > /proc/sysrq-trigger
while :; do :; done
