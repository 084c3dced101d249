#!/usr/bin/env bash
# Makes the Debian tree and unpacks the kernel: the slow part, which depends on the package list alone.
#   base.sh OUT_DIR SUITE PACKAGE_LIST MIRROR
# Leaves OUT_DIR/base.tar (the tree) and OUT_DIR/kernel/ (vmlinuz and modules). SOURCE_DATE_EPOCH must be set.
set -euo pipefail
out=$1 suite=$2 list=$3 mirror=$4
arch=$(dpkg --print-architecture)
kernel_package="linux-image-cloud-$arch"

if [[ -z $mirror ]]; then
  # The building machine's own mirror.
  mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2> /dev/null \
    | awk '$1 == "URIs:" { print $2; exit } $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) { print $i; exit } }' || true)
  [[ -n $mirror ]] || { echo "no Debian mirror found in /etc/apt; give one with --mirror=ADDRESS" >&2; exit 1; }
fi

rm -rf "$out"
mkdir -p "$out/kernel"
packages=$(sed 's/#.*//' "$list" | tr -s ' \n' ',' | sed 's/^,//; s/,$//')

mmdebstrap --mode=root --variant=minbase --include="$packages" \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' \
  --customize-hook='chroot "$1" dpkg-query -W > "$1/.packages"' \
  --customize-hook="copy-out /.packages $out" --customize-hook='rm "$1/.packages"' \
  "$suite" "$out/base.tar" "deb $mirror $suite main" "deb $mirror $suite-updates main"
mv "$out/.packages" "$out/packages"

# The kernel is unpacked, not installed: its own scripts would build an initrd that nobody boots.
# Its signed variant is taken as Debian ships it. The newest one that the metapackage depends on.
cd "$out"
apt-cache show "$kernel_package" > /dev/null 2>&1 || apt-get update -qq
image=$(apt-cache depends "$kernel_package" | awk '/Depends: linux-image-/ { print $2; exit }')
[[ -n $image ]] || { echo "apt does not know $kernel_package" >&2; exit 1; }
apt-get download -qq "$image" 2>/dev/null
dpkg -x "$image"_*.deb kernel
dpkg-deb -f "$image"_*.deb Package Version | awk '{ print $2 }' | paste -s -d '\t' >> packages
rm "$image"_*.deb
