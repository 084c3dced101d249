#!/usr/bin/env bash
# Runs on the instance that Packer writes the AMI's volume from: puts the disk onto the one volume that holds nothing, and
# reads it back.    SHA256: of /tmp/disk.raw
set -euo pipefail
[[ $(sha256sum < /tmp/disk.raw | cut -d ' ' -f 1) == "$SHA256" ]] || { echo "/tmp/disk.raw is not the disk of the manifest" >&2; exit 1; }
bytes=$(stat -c %s /tmp/disk.raw)
mapfile -t volumes < <(lsblk --nodeps --noheadings --paths --output NAME,TYPE | awk '$2 == "disk" { print $1 }' | while read -r disk; do
  [[ $(lsblk --noheadings --output NAME "$disk" | wc -l) == 1 && -z $(sudo blkid --probe "$disk") ]] && echo "$disk"
done)
[[ ${#volumes[@]} == 1 ]] || { echo "expected one empty volume, found ${#volumes[@]}: ${volumes[*]}" >&2; exit 1; }
sudo dd if=/tmp/disk.raw of="${volumes[0]}" bs=4M conv=fsync status=none
sudo blockdev --flushbufs "${volumes[0]}"
[[ $(sudo head -c "$bytes" "${volumes[0]}" | sha256sum | cut -d ' ' -f 1) == "$SHA256" ]] || { echo "the volume does not hold what was written" >&2; exit 1; }
echo "wrote $bytes bytes to ${volumes[0]}"
