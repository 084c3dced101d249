#!/usr/bin/env bash
# Runs on the instance that Packer writes the AMI's volume from: puts the disk onto the one volume that holds nothing, and
# reads it back.
#   SHA256    of the disk, from the manifest
#   DISK      the disk; /tmp/disk.raw, where Packer puts it
#   VOLUMES   which to choose from, with spaces between; all disks of this machine
set -euo pipefail
disk=${DISK:-/tmp/disk.raw}
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
digest() { sha256sum | cut -d ' ' -f 1; }

[[ $(digest < "$disk") == "$SHA256" ]] || { echo "$disk is not the disk of the manifest" >&2; exit 1; }
bytes=$(stat -c %s "$disk")
read -ra among <<< "${VOLUMES:-$(lsblk --nodeps --noheadings --paths --output NAME,TYPE | awk '$2 == "disk" { print $1 }' | paste -s -d ' ')}"
volumes=()
for volume in "${among[@]}"; do
  # No partitions, and no signature of anything: blkid exits with 2 where it finds none, and says so of nothing else.
  [[ $(lsblk --noheadings --output NAME "$volume" | wc -l) == 1 ]] || continue
  found=0
  as_root blkid --probe "$volume" > /dev/null || found=$?
  ((found != 2)) || volumes+=("$volume")
done
[[ ${#volumes[@]} == 1 ]] || { echo "expected one empty volume, found ${#volumes[@]}: ${volumes[*]}" >&2; exit 1; }
volume=${volumes[0]}
room=$(as_root blockdev --getsize64 "$volume")
((room >= bytes)) || { echo "$volume has room for $room bytes, and the disk has $bytes: raise volume_size in packer/mayfly.pkr.hcl" >&2; exit 1; }

as_root dd if="$disk" of="$volume" bs=4M conv=fsync status=none
as_root blockdev --flushbufs "$volume"
[[ $(as_root head -c "$bytes" "$volume" | digest) == "$SHA256" ]] || { echo "$volume does not hold what was written" >&2; exit 1; }
echo "wrote $bytes bytes to $volume"
