#!/usr/bin/env bash
# Builds the image: everything that ./build.sh --target=Image does after its programs are built. Runs as root.
#   build.sh --agent=FILE --runner=DIR|FILE|release[:VERSION] --runner-kind=stand-in|official --out=DIR --cache=DIR
#            [--runner-sha256=DIGEST] [--github=https://api.github.com]
#            [--signing-key=FILE --signing-certificate=FILE] [--source=COMMIT[+modified]]
#            [--suite=bookworm] [--mirror=ADDRESS[,SECURITY-ADDRESS]] [--kernel=PACKAGE]
#            [--toolset=minimal] [--extra-packages=NAME,...] [--files=DIR] [--hooks=DIR]
# A toolset is a list in packages/, and the files of rootfs-NAME where there are any. --files is laid over the root as it stands; --hooks holds job-started.d and job-completed.d.
# The same inputs give the same bytes: no time, no name and no path of the building machine goes in.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# All files bear this time. 2026-01-01; any constant would do.
export SOURCE_DATE_EPOCH=1767225600 LC_ALL=C TZ=UTC
umask 022
# Files that the caller left open (Packer does) would push mmdebstrap's own beyond 9, which sh(1) cannot name.
for open in /proc/$$/fd/*; do
  [[ ${open##*/} -le 2 || ${open##*/} -ge 255 ]] || eval "exec ${open##*/}>&-"
done

suite=bookworm mirror='' kernel='' toolset=minimal extra='' files='' hooks='' sha256='' github=https://api.github.com agent='' runner='' runner_kind='' out='' cache='' signing_key='' signing_certificate='' source=''
for argument in "$@"; do
  case $argument in
    --agent=*) agent=${argument#*=} ;;
    --runner=*) runner=${argument#*=} ;;
    --runner-kind=*) runner_kind=${argument#*=} ;;
    --out=*) out=${argument#*=} ;;
    --cache=*) cache=${argument#*=} ;;
    --suite=*) suite=${argument#*=} ;;
    --mirror=*) mirror=${argument#*=} ;;
    --signing-key=*) signing_key=${argument#*=} ;;
    --signing-certificate=*) signing_certificate=${argument#*=} ;;
    --source=*) source=${argument#*=} ;;
    --runner-sha256=*) sha256=${argument#*=} ;;
    --github=*) github=${argument#*=} ;;
    --kernel=*) kernel=${argument#*=} ;;
    --toolset=*) toolset=${argument#*=} ;;
    --extra-packages=*) extra=${argument#*=} ;;
    --files=*) files=${argument#*=} ;;
    --hooks=*) hooks=${argument#*=} ;;
    *) echo "unknown argument '$argument'" >&2; exit 64 ;;
  esac
done
[[ -x $agent ]] || { echo "--agent='$agent' is not a program; build it with ./build.sh --target=Agent" >&2; exit 64; }
[[ -n $out && -n $cache ]] || { echo "--out and --cache are required" >&2; exit 64; }
[[ -z $signing_key && -z $signing_certificate || -r $signing_key && -r $signing_certificate ]] \
  || { echo "--signing-key='$signing_key' and --signing-certificate='$signing_certificate' have to be readable files, both or neither" >&2; exit 64; }
[[ -f $here/packages/$toolset.list ]] || { echo "--toolset='$toolset' is no list in packer/packages; there are $(cd "$here/packages" && ls *.list | sed 's/.list$//' | paste -s -d ' ')" >&2; exit 64; }
# Trixie's kernel lays its modules elsewhere, and what its systemd starts nobody has looked at.
[[ $suite == bookworm ]] || { echo "--suite='$suite': an image is made of Debian bookworm alone" >&2; exit 64; }
[[ $kernel =~ ^(linux-image-[a-z0-9.+-]+)?$ ]] || { echo "--kernel='$kernel': a Debian package linux-image-…, or a metapackage that depends on one" >&2; exit 64; }
[[ $extra =~ ^[a-z0-9.+:,-]*$ ]] || { echo "--extra-packages='$extra': names of Debian packages with commas between" >&2; exit 64; }
for folder in "$files" "$hooks"; do
  [[ -z $folder || -d $folder ]] || { echo "'$folder', given by --files or --hooks, is no folder" >&2; exit 64; }
done
[[ -z $hooks || -d $hooks/job-started.d || -d $hooks/job-completed.d ]] || { echo "--hooks='$hooks' has neither job-started.d nor job-completed.d" >&2; exit 64; }
mkdir -p "$out" "$cache"
out=$(cd "$out" && pwd) cache=$(cd "$cache" && pwd)
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { echo "image: $*"; }

"$here/scripts/runner.sh" "$work/runner" "$runner" "$sha256" "$github"
runner_tarball=$(cat "$work/runner/sha256") runner_released=$(cat "$work/runner/released")

# A list may name another that it adds to, by "include NAME".
expand() {
  sed 's/#.*//' "$here/packages/$1.list" | awk NF | while read -r word name; do
    if [[ $word == include ]]; then expand "$name"; else echo "$word"; fi
  done
}
# Lists that a list takes in, itself last: each may have files of its own, in rootfs-NAME.
included() {
  sed 's/#.*//' "$here/packages/$1.list" | awk '$1 == "include" { print $2 }' | while read -r name; do included "$name"; done
  echo "$1"
}
packages=$work/packages.list
{ expand "$toolset"; tr ',' '\n' <<< "$extra"; } > "$packages"
# An archive that has other packages by now is another input.
offered=$("$here/scripts/archive.sh" "$cache/apt" "$suite" "$mirror")
key=$(cat "$here"/scripts/{base,sources,archive,debs,kernel-package}.sh "$packages" <(echo "$suite $mirror $kernel $SOURCE_DATE_EPOCH"; cut -f 1,2 <<< "$offered") | sha256sum | cut -c 1-16)
base=$cache/base-$key
if [[ ! -f $base/done ]]; then
  say "Debian $suite and its kernel (about 40 s)"
  "$here/scripts/base.sh" "$base" "$suite" "$packages" "$mirror" "$kernel"
  touch "$base/done"
fi
# Of the archive as it was a month ago nobody builds any more.
touch "$base"
find "$cache" -maxdepth 1 -name 'base-*' -mtime +30 -exec rm -rf {} +

say "root tree"
"$here/scripts/root.sh" "$work/tree" "$base" "$here" "$agent" "$work/runner" "$files" "$hooks" "$(included "$toolset" | paste -s -d ' ')"
# Asked of a copy: the official runner writes a log beside its programs even for this.
mkdir "$work/asked"
cp -a "$work/tree/opt/actions-runner/bin" "$work/asked/"
runner_version=$(timeout 30 env -i PATH="$PATH" HOME="$work" DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 "$work/asked/bin/Runner.Listener" --version 2>/dev/null \
  | grep -m 1 -E '^[0-9]+(\.[0-9]+)+$' || echo unknown)
rm -rf "$work/asked"
# For the agent. What GitHub answers about the runner's age differs from day to day: the manifest alone has that.
jq -nc --arg kind "$runner_kind" --arg version "$runner_version" --arg released "$runner_released" \
  '{kind: $kind, version: $version, released: (if $released == "" then null else $released end)}' > "$work/tree/usr/lib/mayfly/runner.json"
runner_age='{"released": null, "successor": null, "newest": null}'
[[ $runner_kind != official ]] || runner_age=$("$here/scripts/runner-age.sh" "$runner_version" "$github")
say "read-only file system and hash tree"
"$here/scripts/verity.sh" "$work/tree" "$here" "$out"
say "initrd"
"$here/scripts/initrd.sh" "$work/tree" "$here" "$out/initrd"
cp "$base"/kernel/boot/vmlinuz-* "$out/vmlinuz"
printf '%s %s' "$(sed 's/#.*//' "$here/kernel.cmdline" | awk NF | paste -s -d ' ')" "$(cat "$out/verity.cmdline")" > "$out/cmdline"
say "bootable file and disk"
"$here/scripts/disk.sh" "$out" "$signing_key" "$signing_certificate"

digest() { sha256sum "$1" | cut -d ' ' -f 1; }
# Of a folder as it is laid into the root; empty for none.
laid() { [[ -z $1 ]] || tar -C "$1" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --hard-dereference -cf - . | sha256sum | cut -d ' ' -f 1; }
value() { tr ' ' '\n' < "$out/verity.cmdline" | sed -n "s/^mayfly.$1=//p"; }
runner_digest=$("$here/scripts/tree-digest.sh" "$work/tree/opt/actions-runner")
# "0.1.0 (.NET 10.0.1)": the program knows best what it was linked from.
agent_version=$("$agent" --version)
jq -n \
  --arg roothash "$(value roothash)" --arg salt "$(value salt)" --argjson blocks "$(value blocks)" \
  --arg disk "$(digest "$out/disk.raw")" --arg esp "$(cat "$out/esp.sha256")" --arg root "$(digest "$out/root.part")" --arg uki "$(digest "$out/mayfly.efi")" \
  --argjson disk_bytes "$(stat -c %s "$out/disk.raw")" --argjson root_bytes "$(stat -c %s "$out/root.part")" --argjson initrd_bytes "$(stat -c %s "$out/initrd")" \
  --arg agent "$(digest "$agent")" --arg runner_kind "$runner_kind" --arg runner_version "$runner_version" --arg runner_digest "$runner_digest" \
  --arg runner_tarball "$runner_tarball" --arg runner_released "$runner_released" --argjson runner_age "$runner_age" --arg toolset "$toolset" \
  --arg agent_version "$agent_version" --argjson pcrs "$("$here/scripts/pcrs.sh" "$out/mayfly.efi")" --argjson signed "$([[ -n $signing_key ]] && echo true || echo false)" \
  --arg mirror "$mirror" --arg kernel_package "$kernel" --arg extra "$extra" --arg files "$(laid "$files")" --arg hooks "$(laid "$hooks")" \
  --arg certificate "$([[ -z $signing_certificate ]] || digest "$signing_certificate")" --arg stub "$(cat "$out/stub")" --arg stub_version "$(dpkg-query --show --showformat='${Version}' systemd-boot-efi)" \
  --arg kernel "$(basename "$base"/kernel/lib/modules/*)" --argjson epoch "$SOURCE_DATE_EPOCH" --rawfile packages "$base/packages" --rawfile suites "$base/archive" \
  'def given: if . == "" then null else . end;
  {rootHash: $roothash, salt: $salt, dataBlocks: $blocks,
    sha256: {disk: $disk, esp: $esp, root: $root, uki: $uki, agent: $agent},
    bytes: {disk: $disk_bytes, root: $root_bytes, initrd: $initrd_bytes},
    agent: ($agent_version | capture("^(?<version>[^ ]+) \\(\\.NET (?<dotnet>[^)]+)\\)$")),
    runner: ({kind: $runner_kind, version: $runner_version, sha256: $runner_digest, tarball: ($runner_tarball | given)} + $runner_age | .released = (($runner_released | given) // .released)),
    toolset: $toolset,
    given: {mirror: ($mirror | given), kernel: ($kernel_package | given), packages: ($extra | split(",")), files: ($files | given), hooks: ($hooks | given), certificate: ($certificate | given)},
    stub: {version: $stub_version, sha256: $stub},
    secureBoot: {signed: $signed}, pcrs: $pcrs,
    kernel: $kernel, suites: ($suites | split("\n") | map(select(. != "") | split("\t") | {name: .[0], packages: .[1], date: .[2]})), sourceDateEpoch: $epoch,
    packages: ($packages | split("\n") | map(select(. != "") | split("\t") | {name: .[0], version: .[1], sha256: .[2]}))}' > "$out/manifest.json"
say "bill of materials and provenance"
"$here/scripts/sbom.sh" "$work/tree" "$out/manifest.json" > "$out/bom.json"
(cd "$out" && sha256sum disk.raw root.part mayfly.efi manifest.json bom.json > SHA256SUMS)
"$here/scripts/provenance.sh" "$out" "$source" > "$out/provenance.json"
(cd "$out" && sha256sum provenance.json >> SHA256SUMS)
rm -f "$out/SHA256SUMS.sig"
[[ -z $signing_key ]] || openssl dgst -sha256 -sign "$signing_key" -out "$out/SHA256SUMS.sig" "$out/SHA256SUMS"
rm -f "$out/stub" "$out/esp.sha256" "$out/verity.cmdline"
say "root hash $(jq -r .rootHash "$out/manifest.json")"
