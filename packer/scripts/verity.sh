#!/usr/bin/env bash
# Packs the tree into a read-only file system and hashes it.
#   verity.sh TREE PACKER_DIR OUT_DIR
# Leaves OUT_DIR/root.part (file system, then hash tree) and OUT_DIR/verity.cmdline (what proves it).
set -euo pipefail
tree=$1 packer=$2 out=$3
sort=$(mktemp)
trap 'rm -f "$sort"' EXIT

# What the boot reads lies first, in the order in which it is read. A file that the image does not have is skipped.
sed 's/#.*//' "$packer/boot-order" | awk NF | while read -r pattern; do
  for file in "$tree"/$pattern; do
    [[ ! -f $file || -L $file ]] || echo "${file#"$tree"/}"
  done
done | awk '{ print $0, 32767 - NR }' > "$sort"

rm -f "$out/root.squashfs" "$out/root.hash"
# Small files each have a block of their own: of blocks that many share the kernel keeps three, and reads them again and again.
# Level 15: 19 takes four times as long for one per cent. The variable would set the same times, and forbids the options.
env -u SOURCE_DATE_EPOCH mksquashfs "$tree" "$out/root.squashfs" -noappend -quiet -no-progress -comp zstd -Xcompression-level 15 -b 128K \
  -no-exports -no-fragments -mkfs-time "$SOURCE_DATE_EPOCH" -all-time "$SOURCE_DATE_EPOCH" -sort "$sort" > /dev/null
blocks=$(($(stat -c %s "$out/root.squashfs") / 4096))
# A salt that follows from the content keeps the build reproducible and still differs from image to image.
salt=$(sha256sum "$out/root.squashfs" | cut -c 1-64)
# No superblock: its parameters would be read from the disk before anything is verified. They go onto the signed command line.
hash=$(veritysetup format --no-superblock --hash sha256 --salt "$salt" "$out/root.squashfs" "$out/root.hash" | awk '/^Root hash/ { print $3 }')
cat "$out/root.squashfs" "$out/root.hash" > "$out/root.part"
rm "$out/root.squashfs" "$out/root.hash"
echo "mayfly.roothash=$hash mayfly.salt=$salt mayfly.blocks=$blocks" > "$out/verity.cmdline"
