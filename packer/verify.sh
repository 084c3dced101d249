#!/usr/bin/env bash
# Holds an image against what is written beside it: everything that can be recomputed is, from the disk's own bytes, by the
# scripts that wrote it. An image is verified by the version of Mayfly that built it.
#   verify.sh IMAGE_DIR [CERTIFICATE]
# With a certificate the bootable file and the checksums must be signed by its key. Only that finds a forger who builds an
# image of their own, and whoever alters what the bytes do not show: the commit, the builder's tools, the toolset's name,
# suites and agent's version, digests of what went in as a file or folder, and what GitHub told of the runner's age.
# Prints one line a check; exits with 1 if any failed. Needs no root, changes nothing, and runs nothing of the image.
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
    echo "FAILED  $what${said:+: $(head -n 12 <<< "$said" | paste -s -d '|' | sed 's/|/; /g')}"
    failed=1
  fi
}
of() { jq -er "$1" "$image/${2:-manifest.json}"; }
digest() { sha256sum "$1" | cut -d ' ' -f 1; }
same() { [[ $1 == "$2" ]] || { echo "is $1, should be $2"; return 1; }; }

# differences RECOMPUTED GIVEN: of two JSON files, by the path to each value. Prints nothing and succeeds if there are none.
differences() {
  jq -r -n --slurpfile recomputed "$1" --slurpfile given "$2" '
    def at($path): try getpath($path) catch null;
    [$recomputed[0], $given[0]] as [$r, $g]
    | [$r, $g] | map([paths(type != "object" and type != "array")]) | add | unique[]
    | select(. as $path | ($r | at($path)) != ($g | at($path)))
    | "\(map(tostring) | join(".")) is \(. as $path | $g | at($path) | tojson), should be \(. as $path | $r | at($path) | tojson)"' > differing || return 1
  [[ ! -s differing ]] || { cat differing; return 1; }
}
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
# The signature lies behind all that the file is of.
is_signed() { osslsigncode extract-signature -in uki -out signature > /dev/null 2>&1 && echo true || echo false; }
# What else the manifest says of the bytes. A runner that came as a file has no date in the root.
figures() {
  objcopy --dump-section .initrd=initrd uki copy
  jq -n --argjson disk "$(stat -c %s "$image/disk.raw")" --argjson root "$(stat -c %s root)" --argjson initrd "$(stat -c %s initrd)" \
    --argjson signed "$(is_signed)" --argjson epoch "$(unsquashfs -fstime root)" --slurpfile runner tree/usr/lib/mayfly/runner.json \
    '{bytes: {disk: $disk, root: $root, initrd: $initrd}, secureBoot: {signed: $signed}, sourceDateEpoch: $epoch, runner: ($runner[0] | with_entries(select(.value != null)))}' > figures
  differences figures <(jq --slurpfile figures figures '{bytes, secureBoot, sourceDateEpoch, runner: (.runner | with_entries(select(.key | in($figures[0].runner))))}' "$image/manifest.json")
}
# "9.0.20" stands in the program as .NET's own name, in UTF-16.
dotnet() { grep -aqF ".NET $(of .agent.dotnet)" <(tr -d '\0' < tree/usr/lib/mayfly/mayfly-agent) || { echo "the agent holds no .NET $(of .agent.dotnet)"; return 1; }; }
# "6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)"
kernel() {
  objcopy --dump-section .linux=linux uki copy
  grep -m 1 -aoE '[0-9][^ ]+ \([^ ]+\) #[0-9]+ SMP [^(]*Debian [^ ]+' linux | head -n 1 | awk '{ print $1 "\t" $NF }' > release
  same "$(cut -f 1 release)" "$(of .kernel)" || return 1
  [[ -d tree/usr/lib/modules/$(of .kernel) ]] || { echo "the root has no modules for it"; return 1; }
}
# The kernel's package is unpacked, not installed: what it is the kernel itself says.
packages() {
  { "$here/scripts/packages.sh" tree | cut -f 1,2; sed 's/^/linux-image-/' release; } | LC_ALL=C sort > one
  of '.packages[] | "\(.name)\t\(.version)"' | LC_ALL=C sort > other
  # An empty list is one that could not be read.
  [[ -s one && -s other ]] || { echo "a list is missing"; return 1; }
  diff one other
}
materials() { "$here/scripts/sbom.sh" tree "$image/manifest.json" > materials && differences materials "$image/bom.json"; }
# What is written beside the disk, as it has to be: parts of the disk by what the disk holds.
sums() {
  printf '%s  %s\n' "$(digest "$image/disk.raw")" disk.raw "$(digest root)" root.part "$(digest uki)" mayfly.efi
  (cd "$image" && sha256sum manifest.json bom.json "$@")
}
checksums() { (cd "$image" && sha256sum --check --quiet --strict SHA256SUMS) && diff <(sums provenance.json) "$image/SHA256SUMS"; }
# Which commit and which tools it was the builder alone can say.
provenance() {
  local source
  source=$(of '[.predicate.buildDefinition.resolvedDependencies[] | select(.name == "source")][0] | "\(.digest.gitCommit // "")\(if .annotations.modified then "+modified" else "" end)"' provenance.json)
  [[ $source =~ ^([0-9a-f]{40}(\+modified)?)?$ ]] || { echo "'$source' is no commit"; return 1; }
  mkdir beside
  cp "$image"/{manifest,bom}.json beside/
  sums > beside/SHA256SUMS
  "$here/scripts/provenance.sh" beside "$source" | jq --slurpfile given "$image/provenance.json" '.predicate.runDetails.builder.version = $given[0].predicate.runDetails.builder.version' > provenance
  differences provenance "$image/provenance.json"
}

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
check "the manifest lists the root's packages and the kernel's" packages
check "the manifest's sizes, signature, time and runner are the image's" figures
check "the agent's .NET is the one of the manifest" dotnet
check "the bill of materials is what root and manifest give" materials
check "the provenance is what disk, manifest and bill of materials give" provenance
check "every file has its checksum" checksums
[[ -n $certificate ]] || echo "note: without a certificate only what contradicts itself is found, and no image that somebody else has made as a whole" >&2
exit $failed
