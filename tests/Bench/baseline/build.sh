#!/usr/bin/env bash
# Builds the machine that the image is compared with: the usual way to an image of one's own. Debian with the same packages,
# GRUB, the distribution's kernel package and initrd, an ext4 root, cloud-init; the runner in /opt. What a user would add to a
# machine like this (SSH, time synchronisation, an agent of the cloud's) is left out, in its favour.
#   build.sh --packages=FILE --runner=DIR --out=DIR [--suite=bookworm] [--mirror=ADDRESS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export LC_ALL=C
umask 022
suite=bookworm mirror='' packages='' runner='' out=''
for argument in "$@"; do
  case $argument in
    --packages=*) packages=${argument#*=} ;;
    --runner=*) runner=${argument#*=} ;;
    --out=*) out=${argument#*=} ;;
    --suite=*) suite=${argument#*=} ;;
    --mirror=*) mirror=${argument#*=} ;;
    *) echo "unknown argument '$argument'" >&2; exit 64 ;;
  esac
done
mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree root_uuid=6d61796f-0000-4000-8000-000000000022

if [[ -n $mirror ]]; then
  sources="deb ${mirror%%,*} $suite main"
else
  sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' \
    | awk -v s="$suite" '$3 == s || $3 == s "-updates" || $3 == s "-security"' | sort -u)
fi
echo "baseline: Debian $suite with GRUB and cloud-init"
mmdebstrap --mode=root --variant=minbase \
  --include="$(sed 's/#.*//' "$packages" | tr -s ' \n' ',' | sed 's/^,//; s/,$//'),linux-image-cloud-$(dpkg --print-architecture),initramfs-tools,zstd,grub-efi-amd64-bin,grub-common,cloud-init,dbus,systemd-resolved" \
  --aptopt='APT::Install-Recommends "false"' "$suite" "$tree" - <<< "$sources"
cp -a "$here/rootfs/." "$tree/"
mkdir -p "$tree/opt/actions-runner"
cp -r "$runner/bin" "$runner/externals" "$tree/opt/actions-runner/"
chroot "$tree" useradd --uid 1001 --create-home --shell /bin/bash runner
chroot "$tree" chown -R runner:runner /opt/actions-runner
chroot "$tree" systemctl enable systemd-networkd systemd-resolved cloud-init-local cloud-init cloud-config cloud-final 2> /dev/null
ln -sf /run/systemd/resolve/resolv.conf "$tree/etc/resolv.conf"
: > "$tree/etc/machine-id"

echo "baseline: disk"
version=$(basename "$tree"/boot/vmlinuz-*)
version=${version#vmlinuz-}
cat > "$tree/boot/grub.cfg" <<END
linux /boot/vmlinuz-$version root=UUID=$root_uuid rw console=ttyS0
initrd /boot/initrd.img-$version
boot
END
echo "search --no-floppy --fs-uuid --set=root $root_uuid
configfile /boot/grub.cfg" > "$tree/early.cfg"
chroot "$tree" grub-mkimage --format=x86_64-efi --prefix=/boot --config=/early.cfg --output=/grub.efi part_gpt ext2 search search_fs_uuid normal configfile linux boot echo
mv "$tree/grub.efi" "$work/"
rm "$tree/early.cfg"
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*
mkfs.vfat -F 32 -s 1 -n ESP -C "$work/esp" $((36 * 1024)) > /dev/null
mmd -i "$work/esp" ::/EFI ::/EFI/BOOT
mcopy -i "$work/esp" "$work/grub.efi" ::/EFI/BOOT/BOOTX64.EFI
truncate -s 2G "$work/root"
mke2fs -q -t ext4 -L root -U $root_uuid -d "$tree" "$work/root"

rm -f "$out/disk.raw"
truncate -s $((2048 * 1048576 + 38 * 1048576)) "$out/disk.raw"
sgdisk --new=1:2048:$((2048 + 36 * 2048 - 1)) --typecode=1:ef00 --new=2:$((37 * 2048)):$((37 * 2048 + 2048 * 2048 - 1)) --typecode=2:8300 "$out/disk.raw" > /dev/null
dd if="$work/esp" of="$out/disk.raw" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/root" of="$out/disk.raw" bs=1M seek=37 conv=notrunc,sparse status=none
