#!/usr/bin/env bash
# Joins kernel, initrd and command line into one bootable file (a UKI), signed if there is a key, and that and the root
# into a disk.
#   disk.sh OUT_DIR [KEY CERTIFICATE]   needs vmlinuz, initrd, cmdline and root.part there; leaves mayfly.efi and disk.raw, and
#                                       stub: the digest of this machine's UEFI stub, which is the first program of the image
set -euo pipefail
out=$1 key=${2:+$(realpath "$2")} certificate=${3:+$(realpath "$3")}
cd "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $(uname -m) in
  x86_64) stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub name=BOOTX64.EFI ;;
  aarch64) stub=/usr/lib/systemd/boot/efi/linuxaa64.efi.stub name=BOOTAA64.EFI ;;
  *) echo "no UEFI stub for $(uname -m)" >&2; exit 1 ;;
esac
sha256sum < "$stub" | cut -d ' ' -f 1 > stub
printf 'ID=mayfly\nNAME=Mayfly\n' > "$work/os-release"
# Addresses as systemd's documentation of the stub gives them (systemd-stub(7)); the initrd lies behind the kernel, however
# large that grows.
linux=$((0x2000000))
initrd=$(((linux + $(stat -c %s vmlinuz) + 0xfffff) / 0x100000 * 0x100000))
objcopy --add-section .osrel="$work/os-release" --change-section-vma .osrel=0x20000 \
  --add-section .cmdline=cmdline --change-section-vma .cmdline=0x30000 \
  --add-section .linux=vmlinuz --change-section-vma .linux=$linux \
  --add-section .initrd=initrd --change-section-vma .initrd=$initrd "$stub" mayfly.efi
# objcopy writes the time of its run and a checksum over it into the PE header: two builds would differ.
header=$(od -An -tu4 -j 60 -N 4 mayfly.efi | tr -d ' ')
for offset in 8 88; do
  printf '\0\0\0\0' | dd of=mayfly.efi bs=1 seek=$((header + offset)) conv=notrunc status=none
done
# A signature begins at a multiple of eight bytes; so padded, the file has the same Authenticode digest signed and unsigned.
truncate -s %8 mayfly.efi
if [[ -n $key ]]; then
  # The signature tells its own time: the constant one. RSA's is then the same each time.
  osslsigncode sign -h sha256 -st "$SOURCE_DATE_EPOCH" -key "$key" -certs "$certificate" -in mayfly.efi -out "$work/signed.efi" > /dev/null
  cp "$work/signed.efi" mayfly.efi
fi

size=$(stat -c %s mayfly.efi)
esp_mib=$((size / 1048576 + 8))
rm -f "$work/esp.part"
mkfs.vfat --invariant -F 32 -s 1 -i 6d617966 -n ESP -C "$work/esp.part" $((esp_mib < 36 ? 36 * 1024 : esp_mib * 1024)) > /dev/null
touch -d "@$SOURCE_DATE_EPOCH" mayfly.efi
mmd -i "$work/esp.part" ::/EFI ::/EFI/BOOT
mcopy -m -i "$work/esp.part" mayfly.efi "::/EFI/BOOT/$name"

esp_sectors=$(($(stat -c %s "$work/esp.part") / 512))
root_sectors=$(($(stat -c %s root.part) / 512))
rm -f disk.raw
# One mebibyte in front for the table, one between, one behind.
truncate -s $(((esp_sectors + root_sectors) * 512 + 3 * 1048576)) disk.raw
root_start=$(((2048 + esp_sectors + 2047) / 2048 * 2048))
sgdisk --disk-guid=6d617966-0000-4000-8000-000000000010 \
  --new=1:2048:$((2048 + esp_sectors - 1)) --typecode=1:ef00 --change-name=1:esp --partition-guid=1:6d617966-0000-4000-8000-000000000011 \
  --new=2:$root_start:$((root_start + root_sectors - 1)) --typecode=2:8300 --change-name=2:mayfly-root --partition-guid=2:6d617966-0000-4000-8000-000000000012 \
  disk.raw > /dev/null
dd if="$work/esp.part" of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
dd if=root.part of=disk.raw bs=1M seek=$((root_start / 2048)) conv=notrunc,sparse status=none
sha256sum < "$work/esp.part" | cut -d ' ' -f 1 > esp.sha256
