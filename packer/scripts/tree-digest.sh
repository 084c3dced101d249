#!/usr/bin/env bash
# One SHA-256 for all files below a folder: of their digests, in order of name.
#   tree-digest.sh FOLDER
set -euo pipefail
cd "$1"
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
