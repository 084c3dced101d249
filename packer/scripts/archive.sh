#!/usr/bin/env bash
# What Debian's archive offers: a line for each suite that is built from, by tabs: its name, the digest of its package lists, and
# the date of its Release file. The digest changes with the packages alone; the date with each time that Debian signs anew.
#   archive.sh STATE_DIR                   as the apt with this folder below lists/ has it
#   archive.sh STATE_DIR SUITE MIRROR|''   asks the archive first, and keeps the answer there; without one the last one counts
set -euo pipefail
state=$1

if (($# > 1)); then
  sources=$("$(dirname "$0")/sources.sh" "$2" "$3")
  # Another archive's answer is none of this one.
  cmp -s "$state/sources.list" <<< "$sources" || rm -rf "$state"
  mkdir -p "$state/lists/partial"
  echo "$sources" > "$state/sources.list"
  # The Release files alone, with their signatures checked; a few hundred kilobytes once, then a question each whether they changed.
  apt-get update -qq -o Dir::State="$state" -o Dir::State::status=/dev/null -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Cache="$state" \
    -o Acquire::IndexTargets::deb::Packages::DefaultEnabled=false -o Acquire::IndexTargets::deb::Translations::DefaultEnabled=false -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o APT::Update::Error-Mode=any -o APT::Sandbox::User=root -o Acquire::Retries=0 -o Acquire::http::Timeout=5 -o Acquire::https::Timeout=5 > "$state/said" 2>&1 \
    || echo "image: WARNING: Debian's archive cannot be asked for newer packages: $(grep -m 1 '^E:' "$state/said" || tail -n 1 "$state/said")" >&2
fi

architecture=$(dpkg --print-architecture)
for file in "$state"/lists/*Release; do
  [[ -f $file ]] || continue
  suite=${file##*_dists_}
  # A list stands there once for each packing of it.
  packages=$(grep -E "^ [0-9a-f]{64} +[0-9]+ main/binary-$architecture/Packages" "$file" | sort)
  printf '%s\t%s\t%s\n' "${suite%_*Release}" "$(sha256sum <<< "$packages" | cut -d ' ' -f 1)" "$(date -u -d "$(sed -n 's/^Date: //p' "$file" | head -n 1)" +%Y-%m-%dT%H:%M:%SZ)"
done | sort
