#!/usr/bin/env bash
# Lists the packages of a tree that was just installed, by the apt of APT_CONFIG: name, version and the SHA-256 of the file that
# it came in, by tabs. The digests are those of the lists, whose signatures apt has checked, as it has the files by them.
#   debs.sh TREE
set -euo pipefail
installed=$(dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat='${binary:Package}=${Version}\n')
debs=$(xargs apt-cache show <<< "$installed" | awk '
  /^Package: / { name = $2 } /^Version: / { version = $2 } /^SHA256: / { digest = $2 }
  /^$/ { if (digest != "") print name "\t" version "\t" digest; name = version = digest = "" }
  END { if (digest != "") print name "\t" version "\t" digest }' | LC_ALL=C sort -u)
[[ $(cut -f 1,2 <<< "$debs" | wc -l) == "$(wc -l <<< "$installed")" ]] || { echo "not every package of $1 has one digest in the archive's lists" >&2; exit 1; }
echo "$debs"
