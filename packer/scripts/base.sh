#!/usr/bin/env bash
# Makes the Debian tree and unpacks the kernel: the slow part, which depends on the package list alone.
#   base.sh OUT_DIR SUITE PACKAGE_LIST MIRROR[,SECURITY_MIRROR] KERNEL_PACKAGE
# Leaves OUT_DIR/base.tar (the tree), OUT_DIR/kernel/ (vmlinuz and modules), OUT_DIR/packages (names and versions) and
# OUT_DIR/suites (where they are from). SOURCE_DATE_EPOCH must be set.
set -euo pipefail
out=$1 suite=$2 list=$3 mirror=$4 kernel=$5
export OUT=$out KERNEL="${kernel:-linux-image-cloud-$(dpkg --print-architecture)}"

sources=$("$(dirname "$0")/sources.sh" "$suite" "$mirror")

rm -rf "$out"
mkdir -p "$out/kernel"
packages=$(sed 's/#.*//' "$list" | tr -s ' \n' ',' | sed 's/^,//; s/,$//')
awk '{ print $3 }' <<< "$sources" | sort > "$out/suites"
grep -qx "$suite-security" "$out/suites" || echo "image: WARNING: this machine's apt has no $suite-security: the image gets no security updates"

# The kernel is unpacked, not installed: its own scripts would build an initrd that nobody boots. It is taken from the same
# lists as all else, and not from this machine's. Its signed variant, as the metapackage depends on it.
take_kernel='set -eu
  export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
  cd "$OUT"
  apt-get download -qq "$(apt-cache depends "$KERNEL" | sed -n "s/.*Depends: \(linux-image-[^ ]*\)/\1/p" | head -n 1)"'
mmdebstrap --mode=root --variant=minbase --include="$packages" \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' \
  --customize-hook='dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat="\${Package}\\t\${Version}\\n" > "$OUT/packages"' \
  --customize-hook="$take_kernel" \
  "$suite" "$out/base.tar" - <<< "$sources"

cd "$out"
dpkg -x linux-image-*.deb kernel
dpkg-deb -f linux-image-*.deb Package Version | awk '{ print $2 }' | paste -s -d '\t' >> packages
rm linux-image-*.deb
