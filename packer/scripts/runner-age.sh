#!/usr/bin/env bash
# When a runner was released, and which is the newest; warns of one that is getting too old.
#   runner-age.sh VERSION API
# Prints {"released": DATE, "newest": {"version": VERSION, "released": DATE}}; null where GitHub cannot be asked.
set -euo pipefail
version=$1 api=$2
# GitHub gives no job to a runner 30 days after a newer one was released: half of that is left to build and to ship.
warn_days=14

ask() { curl --fail --silent --location --max-time 20 -H 'Accept: application/vnd.github+json' "$api/repos/actions/runner/releases/$1" || echo null; }
newest=$(ask latest)
this=null
[[ $newest == null ]] || this=$(ask "tags/v$version")
jq -n --argjson this "$this" --argjson newest "$newest" '
  {released: ($this | .published_at?), newest: (if $newest == null then null else {version: $newest.tag_name[1:], released: $newest.published_at} end)}'

if [[ $newest == null ]]; then
  echo "image: WARNING: $api does not answer: how old runner $version is, is not known" >&2
elif [[ $(jq -r .tag_name <<< "$newest") != "v$version" ]]; then
  age=$((($(date +%s) - $(date -d "$(jq -r .published_at <<< "$newest")" +%s)) / 86400))
  ((age < warn_days)) || echo "image: WARNING: runner $version was followed by $(jq -r '.tag_name[1:]' <<< "$newest") $age days ago; after 30 days GitHub gives it no jobs" >&2
fi
