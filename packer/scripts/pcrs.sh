#!/usr/bin/env bash
# Predicts what a TPM holds once an image has booted, from its bootable file alone: what attestation compares with.
#   pcrs.sh UKI              prints JSON: the SHA-256 value of each register by its number, with Secure Boot and without
# What is measured, and by whom: https://uapi-group.org/specifications/specs/linux_tpm_pcr_registry/ and, for register 4, the
# TCG PC Client Platform Firmware Profile, section 2.3.4.5.
set -euo pipefail
uki=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

objcopy --dump-section .linux=linux --dump-section .initrd=initrd --dump-section .cmdline=cmdline --dump-section .osrel=osrel "$uki" copy.efi

binary() { basenc --base16 -d <<< "${1^^}"; }
digest() { sha256sum | cut -d ' ' -f 1; }
# A program is measured by the digest that a signature on it would cover.
authenticode() {
  hash-to-efi-sig-list "$1" list.esl > /dev/null
  tail -c 32 list.esl | od -An -v -tx1 | tr -d ' \n'
}

extend() {
  local value event
  value=$(printf '0%.0s' {1..64})
  for event; do
    value=$(binary "$value$event" | digest)
  done
  echo "$value"
}

# 4: the firmware says that it starts a boot option, closes its own part, and measures each program that it loads: ours, and the
# kernel that ours hands to it. Under Secure Boot ours vouches for the kernel itself, and the firmware does not look at it.
started=("$(printf 'Calling EFI Application from Boot Option' | digest)" "$(printf '\0\0\0\0' | digest)" "$(authenticode "$uki")")

# 11: the stub measures each part of the file by name and content. The unit that would add the phases of the boot is masked.
eleven=$(/lib/systemd/systemd-measure calculate --phase=: --bank=sha256 --json=short --linux=linux --initrd=initrd --cmdline=cmdline --osrel=osrel | jq -r '.sha256[0].hash')

# 12: whatever was given beside the file, as another command line; nothing is.
jq -n --arg secure "$(extend "${started[@]}")" --arg open "$(extend "${started[@]}" "$(authenticode linux)")" --arg eleven "$eleven" --arg twelve "$(extend)" \
  '{secureBoot: {"4": $secure, "11": $eleven, "12": $twelve}, withoutSecureBoot: {"4": $open, "11": $eleven, "12": $twelve}}'
