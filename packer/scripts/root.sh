#!/usr/bin/env bash
# Lays the root's tree out: Debian, the kernel's modules, our own files, the agent and the runner.
#   root.sh TREE BASE_DIR PACKER_DIR AGENT RUNNER_DIR [FILES_DIR] [HOOKS_DIR] [TOOLSETS]
set -euo pipefail
tree=$1 base=$2 packer=$3 agent=$4 runner=$5 files=${6:-} hooks=${7:-} toolsets=${8:-}

rm -rf "$tree"
mkdir -p "$tree"
tar -C "$tree" --numeric-owner -xf "$base/base.tar"

# The kernel's modules that the list names, and those that they depend on. A line that names none is a mistake, but for
# another architecture's.
version=$(basename "$base"/kernel/lib/modules/*)
from=$base/kernel/lib/modules/$version to=$tree/usr/lib/modules/$version
mkdir -p "$to"
depmod -b "$base/kernel" "$version"
sed 's/#.*//' "$packer/kernel.modules" | awk NF | while read -r pattern; do
  found=$(cd "$from/kernel" && find . -name '*.ko*' -path "./${pattern%/}$([[ $pattern != */ ]] || echo '/*')" -printf 'kernel/%P\n')
  [[ -n $found || $pattern == arch/* ]] || { echo "kernel.modules: '$pattern' names no module of $version" >&2; exit 1; }
  echo "$found"
done | awk 'NR == FNR { sub(":", "", $1); needs[$1] = $0; next }
  NF { n = split(needs[$1], all, " "); for (i = 1; i <= n; i++) { sub(":", "", all[i]); print all[i] } }' "$from/modules.dep" - | sort -u > "$tree/modules"
(cd "$from" && cp --parents -t "$to" $(cat "$tree/modules") modules.order modules.builtin modules.builtin.modinfo)
rm "$tree/modules"
depmod -b "$tree" "$version"

# Copies a folder's content as root's own, writable by root alone, readable by all: whatever owners and modes a checkout or
# an unpacked release has here.
lay() {
  mkdir -p "$2"
  tar -C "$1" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - . | tar -C "$2" -xpf -
}
lay "$packer/rootfs" "$tree"
for toolset in $toolsets; do
  [[ ! -d $packer/rootfs-$toolset ]] || lay "$packer/rootfs-$toolset" "$tree"
done
# Last, so that an operator's own files replace ours. A hook runs only if it may be executed.
[[ -z $files ]] || lay "$files" "$tree"
if [[ -n $hooks ]]; then
  for moment in job-started.d job-completed.d; do
    [[ ! -d $hooks/$moment ]] || lay "$hooks/$moment" "$tree/etc/mayfly/hooks/$moment"
  done
fi
install -D -m 0755 "$agent" "$tree/usr/lib/mayfly/mayfly-agent"
lay "$runner/bin" "$tree/opt/actions-runner/bin"
lay "$runner/externals" "$tree/opt/actions-runner/externals"

# The one user beside root, without a password. By hand: useradd writes the day of its run into /etc/shadow; a day of zero
# would mean that the password has expired, and PAM would refuse the user.
echo 'runner:x:1001:1001:GitHub Actions runner:/home/runner:/bin/bash' >> "$tree/etc/passwd"
echo 'runner:x:1001:' >> "$tree/etc/group"
echo "runner:!:$((SOURCE_DATE_EPOCH / 86400)):0:99999:7:::" >> "$tree/etc/shadow"
echo 'runner:!::' >> "$tree/etc/gshadow"
install -d -m 0700 -o 1001 -g 1001 "$tree/home/runner"
echo mayfly > "$tree/etc/hostname"

# systemd: what starts, and what never does.
units=$tree/etc/systemd/system
mkdir -p "$units/multi-user.target.wants"
ln -sf /usr/lib/systemd/system/multi-user.target "$units/default.target"
for unit in mayfly-agent systemd-networkd; do
  ln -sf "/usr/lib/systemd/system/$unit.service" "$units/multi-user.target.wants/$unit.service"
done
mkdir -p "$units/timers.target.wants"
ln -sf /usr/lib/systemd/system/mayfly-ceiling.timer "$units/timers.target.wants/mayfly-ceiling.timer"
while read -r unit; do
  ln -sf /dev/null "$units/$unit"
done < <(sed 's/#.*//' "$packer/masked-units" | awk NF)
# Nor does what makes units of terminals, encrypted disks, SysV's scripts, rc.local or the kernel command line. /etc/fstab counts,
# where it has an entry; without a generator systemd need not prepare a place for one to run in.
find "$tree/usr/lib/systemd/system-generators" -mindepth 1 ! -name systemd-fstab-generator -delete
[[ -n $(sed 's/#.*//' "$tree/etc/fstab" | awk NF) ]] || rm -r "$tree/usr/lib/systemd/system-generators"
# The agent writes it: agent/NameServers.cs.
ln -sf /run/systemd/resolve/resolv.conf "$tree/etc/resolv.conf"

sed 's/#.*//' "$packer/left-out" | awk NF | while read -r pattern; do
  (cd "$tree" && rm -rf -- $pattern)
done

# Nobody logs in, mounts or changes a password here: sudo alone keeps its set-user-ID bit, and the agent decides on that.
find "$tree" -type f -perm /6000 ! -path "$tree/usr/bin/sudo" -exec chmod ug-s {} +

# Nothing of the building machine, and nothing that a first boot should make anew.
: > "$tree/etc/machine-id"
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/* "$tree"/var/log/* "$tree"/etc/apt/sources.list* "$tree"/etc/apt/apt.conf.d/99mmdebstrap
rm -f "$tree"/etc/.pwd.lock "$tree"/etc/passwd- "$tree"/etc/group- "$tree"/etc/shadow- "$tree"/etc/gshadow- "$tree"/var/lib/dbus/machine-id
rm -rf "$tree"/boot/* "$tree"/dev/* "$tree"/run/* "$tree"/tmp/* "$tree"/var/tmp/*
