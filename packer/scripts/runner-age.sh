#!/usr/bin/env bash
# When a runner was released and which release followed it; warns of one that is getting too old.
#   runner-age.sh VERSION API
# Prints {"released": DATE, "successor": {"version": VERSION, "released": DATE}, "newest": likewise}; null what there is not, or
# where GitHub cannot be asked.
# https://docs.github.com/en/rest/releases/releases#list-releases
set -euo pipefail
version=$1 api=$2
# GitHub gives no job to a runner 30 days after the release that followed it: half of that is left to build and to ship.
warn_days=14

warn() { echo "image: WARNING: $*" >&2; }

# A page's most, newest first. Of a runner that is older than all of these the oldest tells enough.
age=$({ curl --fail --silent --location --max-time 20 -H 'Accept: application/vnd.github+json' "$api/repos/actions/runner/releases?per_page=100" || echo null; } | jq --arg version "$version" '
  def number: split(".") | map(tonumber);
  [arrays[] | select((.draft or .prerelease | not) and .published_at != null and (.tag_name | test("^v[0-9]+(\\.[0-9]+)+$"))) | {version: .tag_name[1:], released: .published_at}] as $all
  | {
      released: ($all | map(select(.version == $version)) | first | .released?),
      successor: (if $version == "unknown" then null else $all | map(select((.version | number) > ($version | number))) | min_by(.released) end),
      newest: ($all | max_by(.version | number))
    }')
echo "$age"

if [[ $version == unknown ]]; then
  warn "the runner does not say which version it is: how long GitHub gives it jobs is not known"
elif [[ $(jq .newest <<< "$age") == null ]]; then
  warn "$api lists no releases of the runner: how long GitHub gives $version jobs is not known"
elif [[ $(jq .successor <<< "$age") != null ]]; then
  days=$((($(date +%s) - $(date -d "$(jq -r .successor.released <<< "$age")" +%s)) / 86400))
  ((days < warn_days)) || warn "runner $version was followed by $(jq -r .successor.version <<< "$age") $days days ago; after 30 days GitHub gives it no jobs"
fi
