#!/usr/bin/env bash
# Gets the runner that goes into the image, and checks it against its digest.
#   runner.sh OUT_DIR RUNNER SHA256 API
# RUNNER is a folder laid out like the official release, a tarball of that with its SHA256, or "release" or "release:VERSION":
# the official release, checked against the digest that GitHub publishes with it. API is GitHub's address for the last.
# Leaves OUT_DIR/bin, OUT_DIR/externals, OUT_DIR/sha256: the file's digest, empty for a folder, and OUT_DIR/released: when GitHub
# published the release, empty for all but a release.
# https://docs.github.com/en/rest/releases/releases
set -euo pipefail
out=$1 given=$2 sha256=$3 api=$4 released=''
mkdir -p "$out"
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac

ask() { curl --fail --silent --show-error --location --retry 3 --max-time 60 -H 'Accept: application/vnd.github+json' "$api/repos/actions/runner/releases/$1"; }
unpack() { tar -C "$out" -xf "$1" --no-same-owner; }
refuse() { echo "--runner='$given': $*" >&2; exit 64; }

case $given in
  release | release:*)
    if [[ $given == release ]]; then this=$(ask latest); else this=$(ask "tags/v${given#*:}"); fi
    asset=$(jq --arg arch "$arch" '.tag_name[1:] as $v | first(.assets[] | select(.name == "actions-runner-linux-\($arch)-\($v).tar.gz")) // empty' <<< "$this")
    [[ -n $asset ]] || refuse "the release $(jq -r .tag_name <<< "$this") has no file for linux-$arch"
    digest=$(jq -r '.digest // ""' <<< "$asset")
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || refuse "GitHub publishes no SHA-256 of $(jq -r .name <<< "$asset"): download it, check it, and give it with --runner=FILE --runner-sha256=DIGEST"
    # Of the same answer as the digest: it goes into the verified root, where no later question may change a bit.
    released=$(jq -r '.published_at // ""' <<< "$this")
    [[ -n $released ]] || refuse "GitHub names no day on which $(jq -r .tag_name <<< "$this") was published"
    curl --fail --silent --show-error --location --retry 3 --max-time 600 --output "$out/release.tar.gz" "$(jq -r .browser_download_url <<< "$asset")"
    echo "${digest#sha256:}  $out/release.tar.gz" | sha256sum --check --status || refuse "what was downloaded is not what GitHub published: $(sha256sum < "$out/release.tar.gz" | cut -d ' ' -f 1) instead of ${digest#sha256:}"
    sha256=${digest#sha256:}
    unpack "$out/release.tar.gz"
    rm "$out/release.tar.gz"
    ;;
  *)
    if [[ -f $given ]]; then
      [[ -n $sha256 ]] || refuse "a file is only taken with its digest: --runner-sha256=$(sha256sum < "$given" | cut -d ' ' -f 1), if that is the one that its source gives"
      [[ $(sha256sum < "$given" | cut -d ' ' -f 1) == "$sha256" ]] || refuse "its SHA-256 is $(sha256sum < "$given" | cut -d ' ' -f 1), not --runner-sha256='$sha256'"
      unpack "$given"
    else
      [[ -z $sha256 ]] || refuse "--runner-sha256 belongs to a file, and this is none"
      [[ ! -d $given ]] || for part in bin externals; do [[ ! -d $given/$part ]] || ln -s "$(realpath "$given/$part")" "$out/$part"; done
    fi
    ;;
esac
# Of a runner's folder only these go in: what one that has run there left beside them does not.
[[ -x $out/bin/Runner.Listener && -d $out/externals/. ]] || refuse "has no bin/Runner.Listener and externals/: give the official layout, or its tarball"
echo "$sha256" > "$out/sha256"
echo "$released" > "$out/released"
