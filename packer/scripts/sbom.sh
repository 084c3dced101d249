#!/usr/bin/env bash
# Writes the bill of materials in CycloneDX's form (https://cyclonedx.org/docs/1.5/json/): Debian's packages by the tree's own
# database, the kernel, the stub that firmware starts, the agent with the .NET that is linked into it, and the runner.
#   sbom.sh TREE MANIFEST > bom.json
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$1 manifest=$2

"$here/packages.sh" "$tree" | jq -R -s --slurpfile manifest "$manifest" --arg suite "$(sed -n 's/^VERSION_CODENAME=//p' "$tree/etc/os-release")" --arg debian "$(cat "$tree/etc/debian_version")" '
  # Package URLs: https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md
  def purl($architecture): "pkg:deb/debian/\(.name | @uri)@\(.version | @uri)?arch=\($architecture)&distro=\($suite)";
  def sha256: [{alg: "SHA-256", content: .}];
  $manifest[0] as $m
  | (split("\n") | map(select(. != "") | split("\t") | {name: .[0], version: .[1], architecture: .[2], source: .[3], sourceVersion: .[4]})) as $packages
  | ($packages | map(.architecture | select(. != "all")) | first) as $architecture
  | ($m.packages | map({key: "\(.name) \(.version)", value: .sha256}) | from_entries) as $files
  # The kernel is unpacked, not installed: the database does not know it.
  | (($m.packages | map({name, version})) - ($packages | map({name, version}))) as $unpacked
  | {
      bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
      serialNumber: ($m.sha256.disk | "urn:uuid:\(.[0:8])-\(.[8:12])-5\(.[13:16])-8\(.[17:20])-\(.[20:32])"),
      metadata: {
        timestamp: ($m.sourceDateEpoch | todate),
        component: {type: "operating-system", "bom-ref": "image", name: "mayfly-image", version: $m.rootHash, hashes: ($m.sha256.disk | sha256)}
      },
      components: (
        [{type: "operating-system", "bom-ref": "debian", name: "debian", version: $debian}]
        + ($packages | map({type: "library", "bom-ref": purl(.architecture), name, version, purl: purl(.architecture), hashes: ($files["\(.name) \(.version)"] | sha256),
            properties: [{name: "mayfly:debian:source", value: "\(.source)@\(.sourceVersion)"}]}))
        + ($unpacked | map({type: "operating-system", "bom-ref": purl($architecture), name, version, purl: purl($architecture), hashes: ($files["\(.name) \(.version)"] | sha256)}))
        # Of the building machine, in the bootable file and not in the root: no package URL, which would say so.
        + [{type: "firmware", "bom-ref": "stub", name: "systemd-boot-efi (UEFI stub)", version: $m.stub.version, hashes: ($m.stub.sha256 | sha256)},
           {type: "application", "bom-ref": "agent", name: "mayfly-agent", version: $m.agent.version, hashes: ($m.sha256.agent | sha256)},
           {type: "framework", "bom-ref": "dotnet", name: ".NET runtime (NativeAOT)", version: $m.agent.dotnet,
            purl: "pkg:nuget/Microsoft.DotNet.ILCompiler@\($m.agent.dotnet)"},
           {type: "application", "bom-ref": "runner", name: "actions-runner (\($m.runner.kind))", version: $m.runner.version, hashes: ($m.runner.sha256 | sha256)}]),
      dependencies: [{ref: "agent", dependsOn: ["dotnet"]}]
    }'
