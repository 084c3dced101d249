#!/usr/bin/env bash
# Packs an initrd whose PID 1 is init.sh, with this machine's own programs, their libraries, and the image's modules.
#   pack.sh IMAGE_DIR WORK_DIR OUT_FILE
set -euo pipefail
image=$1 work=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$work/tree version=$(jq -r .kernel "$image/manifest.json")
programs=(sh mount modprobe sed grep cat head mkdir swapon blkid mkswap mkfs.ext4 cryptsetup veritysetup)

mkdir -p "$root"/{dev,proc,sys,run,root,scratch,sysroot,tmp,etc} "$root/lib/modules/$version" "$work/image"
mknod -m 600 "$root/dev/console" c 5 1
install -m 0755 "$here/init.sh" "$root/init"
cp /etc/mke2fs.conf "$root/etc/"
for program in "${programs[@]}"; do
  path=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin type -P "$program")
  install -D -m 0755 "$(readlink -f "$path")" "$root/usr/bin/$program"
  ldd "$path" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root/$(dirname "$library")"
    cp -L "$library" "$root/$library"
  done
done
mkdir -p "$root/bin"
ln -s ../usr/bin/sh "$root/bin/sh"

zstd -dc "$image/initrd" | (cd "$work/image" && cpio -id --quiet 'modules/*')
cp "$work"/image/modules/*.ko* "$root/lib/modules/$version/"
depmod -b "$root" "$version"
sed 's/\.ko.*//' "$work/image/modules/root" "$work/image/modules/storage" > "$root/modules"
(cd "$root" && find . -mindepth 1 | cpio -o -H newc --owner=0:0 --quiet) | zstd -q -1 > "$out"
