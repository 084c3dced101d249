#!/usr/bin/env bash
# Prints the package with the kernel itself: the one that a metapackage depends on, or the one given. Asks the apt of APT_CONFIG.
#   kernel-package.sh NAME
set -euo pipefail
kernel=$(apt-cache depends "$1" | awk '/Depends: linux-image-/ && !n++ { print $2 }')
echo "${kernel:-$1}"
