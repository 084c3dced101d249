#!/usr/bin/env bash
# Packs the initrd: the agent as /init, the libraries it is linked against, and the kernel modules it loads.
#   initrd.sh TREE PACKER_DIR OUT_FILE
set -euo pipefail
tree=$1 packer=$2 out=$3
agent=$tree/usr/lib/mayfly/mayfly-agent
libraries=$(echo "$tree"/usr/lib/*-linux-gnu)
version=$(basename "$tree"/usr/lib/modules/*)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{dev,proc,sys,run,root,scratch,sysroot,modules}
mknod -m 600 "$root/dev/console" c 5 1
install -m 0755 "$agent" "$root/init"

# What the program needs by its own header: loader and libraries, from the image's tree and not from this machine.
interpreter=$(readelf -l "$agent" | sed -n 's/.*interpreter: \(.*\)\].*/\1/p')
mkdir -p "$root$(dirname "$interpreter")" "$root/usr/lib/$(basename "$libraries")"
cp -L "$libraries/$(basename "$interpreter")" "$root$interpreter"
take_needed() {
  local library
  for library in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    [[ $library == ld-linux* || -e $root/usr/lib/$(basename "$libraries")/$library ]] && continue
    cp -L "$libraries/$library" "$root/usr/lib/$(basename "$libraries")/"
    take_needed "$libraries/$library"
  done
}
take_needed "$agent"
ln -s usr/lib "$root/lib"

sed 's/#.*//' "$packer/initrd.modules" | awk NF | while read -r part module; do
  # A processor's own implementation is missing on another architecture: that is no error, the generic one is built in.
  { modprobe -d "$tree" -C "$tree/etc/modprobe.d" -S "$version" --show-depends "$module" 2>/dev/null || true; } | awk -v part="$part" '$1 == "insmod" { print part, $2 }'
done | awk '!seen[$2]++' | while read -r part file; do
  cp "$file" "$root/modules/"
  basename "$file" >> "$root/modules/$part"
done
# Without these no instance finds its root, its scratch or its network: in a cloud kernel of Debian's they are here or built in.
missing=''
for module in nvme ext4 dm-verity squashfs dm-crypt overlay ena; do
  [[ -n $(find "$root/modules" -name "$module.ko*") ]] || grep -q "/$module\.ko$" "$tree/usr/lib/modules/$version/modules.builtin" || missing+=" $module"
done
[[ -z $missing ]] || { echo "the kernel $version starts no instance: not built in and not in the initrd:$missing; take one of Debian's for clouds (--kernel=linux-image-cloud-ARCHITECTURE)" >&2; exit 1; }

find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$root" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --owner=0:0 --reproducible --quiet) | zstd -q -19 -T1 > "$out"
