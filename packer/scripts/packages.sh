#!/usr/bin/env bash
# Lists a tree's Debian packages, as its own database tells them: name, version, architecture, source, source's version; by tabs.
#   packages.sh TREE
set -euo pipefail
dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat='${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n' | LC_ALL=C sort
