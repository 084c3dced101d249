#!/usr/bin/env bash
# Uses what an image's toolset brings, as the runner's user in the image's own root: one line a use, "works" or "FAILS". In a
# container and not in a virtual machine: no program here is another's because a kernel was emulated. Needs root.
#   try-toolset.sh IMAGE_DIR
set -uo pipefail
image=$(realpath "$1")
toolset=$(jq -er .toolset "$image/manifest.json") || { echo "'$image' has no manifest.json that names a toolset" >&2; exit 64; }

if [[ ${2:-} != mounted ]]; then
  # The mounts end with this script.
  exec unshare --mount "$0" "$image" mounted
fi
# systemd-nspawn tidies up below /run only where that is in memory, which it is not in every container.
mount -t tmpfs tmpfs /run
work=$(mktemp -d)
trap 'umount -q "$work/root"; rm -rf "$work"' EXIT
mkdir "$work/root"
# Where the kernel has no loop device or no squashfs it is unpacked.
mount -t squashfs -o loop,ro "$image/root.part" "$work/root" 2> /dev/null || unsquashfs -quiet -no-progress -force -dest "$work/root" "$image/root.part" > /dev/null

cat > "$work/use" <<'END'
set -u
failed=0
# works WHAT: the commands on its input, in an empty folder.
works() {
  local said
  if said=$(cd "$(mktemp -d)" && bash -euo pipefail -s 2>&1); then echo "works  $1"; else echo "FAILS  $1: $(tail -n 3 <<< "$said" | tr '\n' ' ')"; failed=1; fi
}
minimal() {
  works "git keeps a file, by git-lfs as well" <<'USE'
git init -q . && git lfs install --local && git lfs track '*.bin' && echo a > a.bin && git add . && git -c user.name=a -c user.email=a@b commit -q -m a
git lfs ls-files | grep -q a.bin
USE
  works "jq reads, curl fetches" <<< 'echo "{\"a\":1}" > a && test "$(curl -s "file://$PWD/a" | jq .a)" = 1'
}
build() {
  minimal
  works "a C program is compiled, linked and run" <<'USE'
printf '#include <stdio.h>\nint main(void) { return puts("mayfly") < 0; }\n' > a.c
cc -Wall -O2 -o a a.c && test "$(./a)" = mayfly
USE
  works "a C++ program is built by make" <<'USE'
printf '#include <iostream>\n#include <vector>\nint main() { for (auto i : std::vector<int>{1, 2}) std::cout << i; }\n' > a.cpp
make -s a && test "$(./a)" = 12
USE
  works "CMake and Ninja find OpenSSL, zlib and curl" <<'USE'
printf '#include <curl/curl.h>\n#include <openssl/ssl.h>\n#include <zlib.h>\nint main(void) { return !zlibVersion() | !curl_version() | !OpenSSL_version(0); }\n' > a.c
printf 'cmake_minimum_required(VERSION 3.20)\nproject(a C)\nfind_package(OpenSSL REQUIRED)\nfind_package(ZLIB REQUIRED)\nfind_package(CURL REQUIRED)\nadd_executable(a a.c)\ntarget_link_libraries(a OpenSSL::SSL ZLIB::ZLIB CURL::libcurl)\n' > CMakeLists.txt
cmake -G Ninja . && ninja && ./a
USE
  works "autoconf, automake and libtool make a build" <<'USE'
printf 'AC_INIT([a], [1])\nAM_INIT_AUTOMAKE([foreign])\nLT_INIT\nAC_PROG_CC\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n' > configure.ac
printf 'bin_PROGRAMS = a\na_SOURCES = a.c\n' > Makefile.am && echo 'int main(void) { return 0; }' > a.c
autoreconf --install && ./configure && make -s && ./a
USE
  works "headers of the libraries that the list names" <<'USE'
printf '#include <ffi.h>\n#include <sqlite3.h>\n#include <libxml/parser.h>\nint main(void) { return !sqlite3_libversion(); }\n' > a.c
cc $(pkg-config --cflags libffi sqlite3 libxml-2.0) a.c $(pkg-config --libs libffi sqlite3 libxml-2.0) -o a && ./a
USE
  works "Python makes a virtual environment" <<< 'python3 -m venv v && v/bin/python -c "import ssl, sqlite3"'
  works "archives are packed" <<< 'echo a > a && zip -q a.zip a && unzip -p a.zip | grep -qx a && xz -k a && xz -dc a.xz | grep -qx a'
}
docker() {
  minimal
  works "the engine and its command are there" <<< 'docker --version && dockerd --version && containerd --version && runc --version && tini-static --version'
}
"$1"
exit $failed
END
case $toolset in minimal | build | docker) ;; *) echo "no uses are known of the toolset '$toolset'" >&2; exit 64 ;; esac
systemd-nspawn --quiet --directory="$work/root" --volatile=overlay --private-network --machine="mayfly-toolset-$$" --register=no --keep-unit --as-pid2 --pipe --resolv-conf=off \
  --tmpfs=/work:mode=1777 --setenv=TMPDIR=/work --setenv=HOME=/work --bind-ro="$work/use:/use" --user=runner bash /use "$toolset" < /dev/null
