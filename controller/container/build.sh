#!/usr/bin/env bash
# Builds the controller's container: the program, the libraries of Debian's that it loads, the certificates of the public
# authorities, and nothing that could be started beside it. Runs as root.
#   build.sh --app=DIR --out=DIR --version=VERSION [--source=COMMIT[+modified]] [--suite=bookworm] [--mirror=ADDRESS[,SECURITY-ADDRESS]]
# Leaves OUT/mayfly-controller.tar (an OCI archive), OUT/digest and OUT/packages (what of Debian is in it). The same inputs
# give the same bytes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# All files bear this time, as the image's do.
export SOURCE_DATE_EPOCH=1767225600 LC_ALL=C TZ=UTC
umask 022
# Whoever the program runs as owns its store and nothing else. Above Debian's own users, below those that people have.
id=65532

app='' out='' version='' source='' suite=bookworm mirror=''
for argument in "$@"; do
  case $argument in
    --app=*) app=${argument#*=} ;;
    --out=*) out=${argument#*=} ;;
    --version=*) version=${argument#*=} ;;
    --source=*) source=${argument#*=} ;;
    --suite=*) suite=${argument#*=} ;;
    --mirror=*) mirror=${argument#*=} ;;
    *) echo "unknown argument '$argument'" >&2; exit 64 ;;
  esac
done
[[ -x $app/mayfly-controller ]] || { echo "--app='$app' holds no controller; ./build.sh --target=Container publishes one" >&2; exit 64; }
[[ -n $out && -n $version ]] || { echo "--out and --version are required" >&2; exit 64; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree debian=$work/debian

say() { echo "container: $*"; }

say "libraries of Debian $suite"
"$here/../../packer/scripts/sources.sh" "$suite" "$mirror" > "$work/sources"
# Unpacked, not installed: nothing of them runs here. The packages themselves stay, to tell whose each file is.
mmdebstrap --mode=root --variant=extract --skip=cleanup/apt,essential/unlink --include=libstdc++6,libssl3,libsqlite3-0,ca-certificates,base-files \
  --aptopt='APT::Install-Recommends "false"' --quiet "$suite" "$debian" - < "$work/sources"

mkdir -p "$tree/app" "$tree/etc/ssl/certs" "$tree/tmp" "$tree/var/lib/mayfly" "$tree/var/lib/dpkg/status.d" "$tree/usr/share/doc" "$tree/usr/lib"
cp -r "$app/." "$tree/app/"
chmod 644 "$tree"/app/*
chmod 755 "$tree/app/mayfly-controller"

take() { # a file of Debian's, by its path there, and its mode
  mkdir -p "$tree$(dirname "$1")"
  install -m "${2:-644}" "$debian$1" "$tree$1"
  echo "$1" >> "$work/files"
}
# What each program and library names, and what those name in turn. .NET opens OpenSSL by itself, and the controller SQLite.
needs() { readelf -d "$@" 2> /dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u; }
wanted="$(needs "$app/mayfly-controller" "$app"/*.so) libssl.so.3 libcrypto.so.3 libsqlite3.so.0" taken=' '
while [[ -n $wanted ]]; do
  next=''
  for name in $wanted; do
    [[ $taken != *" $name "* ]] || continue
    file=$(cd "$debian" && find lib usr/lib -name "$name" | sort | head -n 1)
    [[ -n $file ]] || { echo "the program needs $name, which none of the packages that $0 takes has" >&2; exit 1; }
    take "/$file"
    taken+="$name " next+=" $(needs "$debian/$file")"
  done
  wanted=$(echo $next)
done
# The loader stands in every program by a path of its own.
loader=$(readelf -l "$app/mayfly-controller" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
take "$loader" 755

# As update-ca-certificates would make it.
for certificate in "$debian"/usr/share/ca-certificates/mozilla/*.crt; do
  cat "$certificate"
  echo "${certificate#"$debian"}" >> "$work/files"
done > "$tree/etc/ssl/certs/ca-certificates.crt"
take /usr/lib/os-release
ln -s ../usr/lib/os-release "$tree/etc/os-release"
echo "mayfly:x:$id:$id:mayfly:/var/lib/mayfly:/nonexistent" > "$tree/etc/passwd"
echo "mayfly:x:$id:" > "$tree/etc/group"
echo "hosts: files dns" > "$tree/etc/nsswitch.conf"

# Of each package that something was taken of: its licence, and its entry where scanners look when there is no database.
sort -u -o "$work/files" "$work/files"
: > "$out/packages"
for deb in "$debian"/var/cache/apt/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's#^\.##' | sort > "$work/contents"
  [[ -n $(comm -12 "$work/files" "$work/contents") ]] || continue
  package=$(dpkg-deb -f "$deb" Package)
  { dpkg-deb -f "$deb"; echo "Status: install ok installed"; } > "$tree/var/lib/dpkg/status.d/$package"
  mkdir "$tree/usr/share/doc/$package"
  cp -L "$debian/usr/share/doc/$package/copyright" "$tree/usr/share/doc/$package/"
  printf '%s\t%s\n' "$package" "$(dpkg-deb -f "$deb" Version)" >> "$out/packages"
done

say "layer"
chmod 1777 "$tree/tmp"
chmod 700 "$tree/var/lib/mayfly"
reproducible=(--sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --format=gnu)
tar -C "$tree" "${reproducible[@]}" --owner=0 --group=0 --exclude=./var/lib/mayfly -cf "$work/layer.tar" .
# The store's folder is its writer's; a volume that is mounted there for the first time takes that over.
tar -C "$tree" "${reproducible[@]}" --owner=$id --group=$id -rf "$work/layer.tar" ./var/lib/mayfly

# A store of its own: nothing is left in this machine's.
store=(--root "$work/store" --runroot "$work/run" --storage-driver vfs)
container=$(buildah "${store[@]}" from scratch)
buildah "${store[@]}" add --quiet "$container" "$work/layer.tar" / > /dev/null
# Reached from outside by whatever address the container has. The runtime's diagnostic socket wants a file system to write to.
buildah "${store[@]}" config --entrypoint '["/app/mayfly-controller"]' --user "$id:$id" --workingdir / --port 8080 --volume /var/lib/mayfly \
  --env ASPNETCORE_URLS=http://*:8080 --env DOTNET_EnableDiagnostics=0 --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
  --label org.opencontainers.image.title=mayfly-controller --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.revision=$source" --label org.opencontainers.image.licenses=Apache-2.0 "$container"
name=localhost/mayfly-controller:$version
buildah "${store[@]}" commit --quiet --disable-compression=false --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false "$container" "oci:$work/oci:$name" > /dev/null
buildah "${store[@]}" rm "$container" > /dev/null
# buildah's own archive would bear today's date.
rm -f "$out/mayfly-controller.tar"
tar -C "$work/oci" "${reproducible[@]}" --owner=0 --group=0 -cf "$out/mayfly-controller.tar" .
jq -r '.manifests[0].digest' "$work/oci/index.json" > "$out/digest"
say "$name, $(cat "$out/digest")"
say "$(stat -c %s "$out/mayfly-controller.tar") bytes packed, $(stat -c %s "$work/layer.tar") unpacked"
