#!/usr/bin/env bash
# Holds an image against what is written beside it: everything that can be recomputed is, from the disk's own bytes.
#   verify.sh IMAGE_DIR [CERTIFICATE]
# With a certificate the bootable file and the checksums must be signed by its key. Prints one line a check; exits with 1
# if any failed. Needs no root, and changes nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
image=$(realpath "$1") certificate=${2:+$(realpath "$2")}
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

failed=0
# check WHAT COMMAND...: what the command prints is shown only if it fails.
check() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "ok      $what"
  else
    echo "FAILED  $what${said:+: $(head -n 3 <<< "$said" | tr '\n' ' ')}"
    failed=1
  fi
}
of() { jq -er "$1" "$image/${2:-manifest.json}"; }
digest() { sha256sum "$1" | cut -d ' ' -f 1; }
same() { [[ $1 == "$2" ]] || { echo "is $1, should be $2"; return 1; }; }

checksums() { (cd "$image" && sha256sum --check --quiet --strict SHA256SUMS); }
checksums_signed() { openssl dgst -sha256 -verify <(openssl x509 -in "$certificate" -noout -pubkey) -signature "$image/SHA256SUMS.sig" "$image/SHA256SUMS"; }
# part NUMBER FILE: a partition's bytes, where the disk's own table says that they lie.
part() {
  local first last
  first=$(sgdisk --info="$1" "$image/disk.raw" | awk '/^First sector/ { print $3 }')
  last=$(sgdisk --info="$1" "$image/disk.raw" | awk '/^Last sector/ { print $3 }')
  dd if="$image/disk.raw" of="$2" bs=1M iflag=skip_bytes,count_bytes skip=$((first * 512)) count=$(((last - first + 1) * 512)) status=none
}
boot_file() { mcopy -n -i esp "::/EFI/BOOT/BOOT$([[ $(uname -m) == aarch64 ]] && echo AA64 || echo X64).EFI" uki && same "$(digest uki)" "$(of .sha256.uki)"; }
boot_file_signed() { osslsigncode verify -CAfile "$certificate" uki | grep -qx 'Number of verified signatures: 1' || { echo "not signed by this certificate's key"; return 1; }; }
command_line() {
  objcopy --dump-section .cmdline=cmdline uki copy
  local word
  for word in "mayfly.roothash=$(of .rootHash)" "mayfly.salt=$(of .salt)" "mayfly.blocks=$(of .dataBlocks)"; do
    tr ' ' '\n' < cmdline | grep -qx "$word" || { echo "has no $word"; return 1; }
  done
}
root_hash() {
  veritysetup verify --no-superblock --hash sha256 --data-blocks "$(of .dataBlocks)" --hash-offset $(($(of .dataBlocks) * 4096)) --salt "$(of .salt)" root root "$(of .rootHash)"
}
pcrs() { same "$("$here/scripts/pcrs.sh" uki | jq -c .)" "$(of .pcrs | jq -c .)"; }
# The agent that runs is the initrd's; the root's own copy lies where it shows that.
initrd_agent() {
  objcopy --dump-section .initrd=initrd uki copy
  zstd -q -d -c initrd | cpio -i --quiet --to-stdout init > init
  same "$(digest init)" "$(of .sha256.agent)"
}
unpack() { unsquashfs -quiet -no-progress -dest tree root; }
# An empty list is one that could not be read.
lists_equal() {
  cat "$1" > one && cat "$2" > other
  [[ -s one && -s other ]] || { echo "a list is missing"; return 1; }
  diff one other
}
listed() { "$here/scripts/packages.sh" tree | cut -f 1,2; }
# The kernel's package is unpacked, not installed: only the manifest knows it.
packages_of() { jq -r "$2" "$image/$1" | grep -v '^linux-image-' | LC_ALL=C sort; }
packages() { lists_equal <(listed) <(packages_of manifest.json '.packages[] | "\(.name)\t\(.version)"'); }
materials() { lists_equal <(listed) <(packages_of bom.json '.components[] | select(.purl // "" | startswith("pkg:deb/")) | "\(.name)\t\(.version)"'); }
kernel() { [[ -d tree/usr/lib/modules/$(of .kernel) ]]; }
subjects() {
  local name sha256
  while read -r name sha256; do
    same "$(digest "$image/$name")" "$sha256" || { echo "$name"; return 1; }
  done < <(of '.subject[] | "\(.name) \(.digest.sha256)"' provenance.json)
  of '[.subject[].name] | contains(["disk.raw", "manifest.json", "bom.json"])' provenance.json
}
dependencies() {
  lists_equal <(of '[.components[].purl // empty | select(startswith("pkg:deb/"))] | sort | .[]' bom.json) <(of '[.predicate.buildDefinition.resolvedDependencies[].uri // empty | select(startswith("pkg:deb/"))] | sort | .[]' provenance.json)
}

check "every file has its checksum" checksums
[[ -z $certificate ]] || check "the checksums are signed by the certificate's key" checksums_signed
check "the disk is the one of the manifest" same "$(digest "$image/disk.raw")" "$(of .sha256.disk)"
part 1 esp
part 2 root
check "the boot partition is the one of the manifest" same "$(digest esp)" "$(of .sha256.esp)"
check "the root partition is the one of the manifest" same "$(digest root)" "$(of .sha256.root)"
check "the bootable file is the one of the manifest" boot_file
[[ -z $certificate ]] || check "the bootable file is signed by the certificate's key" boot_file_signed
check "the bootable file's command line holds the root hash" command_line
check "the root hash is that of the root's blocks" root_hash
check "the predicted TPM values are those of the bootable file" pcrs
check "the initrd's agent is the one of the manifest" initrd_agent
check "the root can be unpacked" unpack
check "the root's agent is the one of the manifest" same "$(digest tree/usr/lib/mayfly/mayfly-agent)" "$(of .sha256.agent)"
check "the runner is the one of the manifest" same "$("$here/scripts/tree-digest.sh" tree/opt/actions-runner)" "$(of .runner.sha256)"
check "the kernel is the one of the manifest" kernel
check "the manifest lists the root's packages" packages
check "the bill of materials lists the root's packages" materials
check "the bill of materials is of this disk" same "$(of '.metadata.component.hashes[0].content' bom.json)" "$(of .sha256.disk)"
check "the provenance is of these files" subjects
check "the provenance names all packages of the bill of materials" dependencies
exit $failed
