#!/usr/bin/env bash
# Writes what the image was made from, by what: an in-toto statement with SLSA's provenance (https://slsa.dev/spec/v1.0/provenance).
# It names no time and no machine: the same build anywhere gives the same statement.
#   provenance.sh OUT_DIR SOURCE > provenance.json      OUT_DIR: with SHA256SUMS of what it is about; SOURCE: the commit, with "+modified" behind it if the tree was; may be empty
set -euo pipefail
out=$1 source=$2
cd "$out"

version() { dpkg-query --show --showformat='${Version}' "$1"; }
digests=$(jq -R -s 'split("\n") | map(select(. != "") | split("  ") | {name: .[1], digest: {sha256: .[0]}})' SHA256SUMS)
tools=$(for tool in mmdebstrap squashfs-tools cryptsetup-bin binutils systemd-boot-efi dosfstools mtools gdisk zstd cpio kmod osslsigncode; do
  printf '%s\t%s\n' "$tool" "$(version "$tool" 2> /dev/null || echo unknown)"
done | jq -R -s 'split("\n") | map(select(. != "") | split("\t") | {key: .[0], value: .[1]}) | from_entries')

jq -n --slurpfile manifest manifest.json --slurpfile bom bom.json --argjson subject "$digests" --argjson tools "$tools" --arg source "$source" '
  $manifest[0] as $m
  | ($source | split("+")) as $commit
  | {
      _type: "https://in-toto.io/Statement/v1",
      subject: $subject,
      predicateType: "https://slsa.dev/provenance/v1",
      predicate: {
        buildDefinition: {
          buildType: "urn:mayfly:image:v1",
          externalParameters: {suites: ($m.suites | map(.name)), mirror: $m.given.mirror, kernel: $m.given.kernel, toolset: $m.toolset, packages: $m.given.packages, runner: $m.runner.kind, secureBootSigned: $m.secureBoot.signed},
          internalParameters: {sourceDateEpoch: $m.sourceDateEpoch, archive: $m.suites},
          resolvedDependencies: (
            (if $source == "" then [] else [{name: "source", uri: "git+mayfly", digest: {gitCommit: $commit[0]}, annotations: {modified: ($commit | length > 1)}}] end)
            + ([
                {name: "mayfly-agent", sha256: $m.sha256.agent}, {name: "actions-runner", sha256: $m.runner.sha256}, {name: "actions-runner-tarball", sha256: $m.runner.tarball},
                {name: "uefi-stub", sha256: $m.stub.sha256}, {name: "files", sha256: $m.given.files}, {name: "hooks", sha256: $m.given.hooks}, {name: "secure-boot-certificate", sha256: $m.given.certificate}
              ] | map(select(.sha256 != null) | {name, digest: {sha256}}))
            + ($bom[0].components | map(select(.purl // "" | startswith("pkg:deb/")) | {uri: .purl, digest: {sha256: .hashes[0].content}})))
        },
        runDetails: {builder: {id: "urn:mayfly:packer/build.sh", version: $tools}}
      }
    }'
