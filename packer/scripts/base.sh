#!/usr/bin/env bash
# Makes the Debian tree and unpacks the kernel: the slow part, which depends on the package list alone.
#   base.sh OUT_DIR SUITE PACKAGE_LIST MIRROR[,SECURITY_MIRROR] KERNEL_PACKAGE
# Leaves OUT_DIR/base.tar (the tree), OUT_DIR/kernel/ (vmlinuz and modules), OUT_DIR/packages (names, versions and the files'
# SHA-256, by tabs) and OUT_DIR/archive (where they are from, as archive.sh tells it). SOURCE_DATE_EPOCH must be set.
set -euo pipefail
out=$1 suite=$2 list=$3 mirror=$4 kernel=$5
export OUT=$out KERNEL="${kernel:-linux-image-cloud-$(dpkg --print-architecture)}" SCRIPTS=$(cd "$(dirname "$0")" && pwd)

sources=$("$SCRIPTS/sources.sh" "$suite" "$mirror")

rm -rf "$out"
mkdir -p "$out/kernel"
packages=$(sed 's/#.*//' "$list" | tr -s ' \n' ',' | sed 's/^,//; s/,$//')
grep -q " $suite-security " <<< "$sources" || echo "image: WARNING: this machine's apt has no $suite-security: the image gets no security updates"

note='set -eu
  export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
  "$SCRIPTS/archive.sh" "$1/var/lib/apt" > "$OUT/archive"
  "$SCRIPTS/debs.sh" "$1" > "$OUT/packages"'
# The kernel is unpacked, not installed: its own scripts would build an initrd that nobody boots. It is taken from the same
# lists as all else, and not from this machine's. Its signed variant, as the metapackage depends on it.
take_kernel='set -eu
  export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
  cd "$OUT"
  apt-get download -qq "$("$SCRIPTS/kernel-package.sh" "$KERNEL")"'
mmdebstrap --mode=root --variant=minbase --include="$packages" \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' \
  --customize-hook="$note" \
  --customize-hook="$take_kernel" \
  "$suite" "$out/base.tar" - <<< "$sources"

cd "$out"
dpkg -x linux-image-*.deb kernel
{ dpkg-deb -f linux-image-*.deb Package Version | awk '{ print $2 }'; sha256sum linux-image-*.deb | cut -d ' ' -f 1; } | paste -s -d '\t' >> packages
rm linux-image-*.deb
