#!/usr/bin/env bash
# Packs the tree into a read-only file system and hashes it.
#   verity.sh TREE OUT_DIR
# Leaves OUT_DIR/root.part (file system, then hash tree) and OUT_DIR/verity.cmdline (what proves it).
set -euo pipefail
tree=$1 out=$2

rm -f "$out/root.erofs" "$out/root.hash"
mkfs.erofs -zlz4hc -T "$SOURCE_DATE_EPOCH" -U 6d61796f-0000-4000-8000-000000000001 "$out/root.erofs" "$tree" > /dev/null
blocks=$(($(stat -c %s "$out/root.erofs") / 4096))
# A salt that follows from the content keeps the build reproducible and still differs from image to image.
salt=$(sha256sum "$out/root.erofs" | cut -c 1-64)
# No superblock: its parameters would be read from the disk before anything is verified. They go onto the signed command line.
hash=$(veritysetup format --no-superblock --hash sha256 --salt "$salt" "$out/root.erofs" "$out/root.hash" | awk '/^Root hash/ { print $3 }')
cat "$out/root.erofs" "$out/root.hash" > "$out/root.part"
rm "$out/root.erofs" "$out/root.hash"
echo "mayfly.roothash=$hash mayfly.salt=$salt mayfly.blocks=$blocks" > "$out/verity.cmdline"
